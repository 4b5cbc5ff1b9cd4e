#pragma once

// How the kernels of causal_conv see a tensor: a thread has V channels of a few tokens.

#include <cstdint>

#include "kernels/tensor/matrix.h"

namespace recallbench {

inline constexpr int kConvLanes = 32;  // threads side by side along the channels, at most
inline constexpr int kConvRows = 8;    // segments of tokens that a block works on at a time

/// V neighbouring channels of a token.
template <int V>
struct alignas(4 * V) ChannelPack {
  float v[V];
};

/// Where a thread works: V channels of one segment of `tokens` tokens of one example. Threads
/// beyond the last channel or segment read zeros and write nothing: their length is 0.
struct ConvPlace {
  Index replica, row;  // row: of the example's first token
  int channel, first, length;

  template <int V>
  __device__ static ConvPlace of(int channels, int length, std::uint32_t tokens,
                                 std::uint32_t segment, std::uint32_t segments,
                                 std::uint32_t channel_block) {
    const std::uint32_t per_example = (length + tokens - 1) / tokens;
    const std::uint32_t example = segment / per_example;
    const int channel = static_cast<int>(channel_block * blockDim.x + threadIdx.x) * V;
    return {blockIdx.z, Index{example} * length, channel,
            static_cast<int>((segment - example * per_example) * tokens),
            channel < channels && segment < segments ? length : 0};
  }
};

/// One column of one example of a tensor, V channels wide, and the tokens of it that may be
/// touched: at first all.
template <int V>
struct ConvColumn {
  float* data;
  int stride, begin = 0;
  unsigned count;

  __device__ ConvColumn(const Batched<float>& m, const ConvPlace& at)
      : data(m.data + at.replica * m.replica_stride + at.row * m.stride + at.channel),
        stride(static_cast<int>(m.stride)),
        count(at.length) {}
  /// Leaves tokens [first, end) of those before.
  __device__ void restrict_to(int first, int end) {
    const int last = min(end, begin + static_cast<int>(count));
    count = max(last - first, 0);
    begin = first;
  }

  __device__ bool inside(int t) const { return static_cast<unsigned>(t - begin) < count; }
  /// Whether all of [first, first + tokens) may be touched.
  __device__ bool holds(int first, int tokens) const {
    return inside(first) && inside(first + tokens - 1);
  }
  /// Tokens [first, first + N) to to[at ...]; zeros outside. kHeld: where it holds(first, N).
  template <int N, bool kHeld = false, int M>
  __device__ void load(int first, ChannelPack<V> (&to)[M], int at = 0) const {
    const float* from = data + Index{first} * stride;
#pragma unroll
    for (int i = 0; i < N; ++i, from += stride)
      to[at + i] = kHeld || inside(first + i) ? *reinterpret_cast<const ChannelPack<V>*>(from)
                                              : ChannelPack<V>{};
  }
  /// Tokens [first, first + N). What is added to is read before anything is written.
  template <int N>
  __device__ void store(int first, ChannelPack<V> (&values)[N], bool accumulate) const {
    if (accumulate) {
      ChannelPack<V> before[N];
      load<N>(first, before);
#pragma unroll
      for (int i = 0; i < N; ++i)
#pragma unroll
        for (int v = 0; v < V; ++v)
          values[i].v[v] += before[i].v[v];
    }
    holds(first, N) ? write<N, true>(first, values) : write<N, false>(first, values);
  }

 private:
  template <int N, bool kHeld>
  __device__ void write(int first, const ChannelPack<V> (&values)[N]) const {
    float* to = data + Index{first} * stride;
#pragma unroll
    for (int i = 0; i < N; ++i, to += stride)
      if (kHeld || inside(first + i)) *reinterpret_cast<ChannelPack<V>*>(to) = values[i];
  }
};

/// a += b ⊙ c
template <int V>
__device__ inline void add_product(const ChannelPack<V>& b, const ChannelPack<V>& c,
                                   ChannelPack<V>& a) {
#pragma unroll
  for (int v = 0; v < V; ++v)
    a.v[v] += b.v[v] * c.v[v];
}
template <int V>
__device__ inline ChannelPack<V> product(const ChannelPack<V>& a, const ChannelPack<V>& b) {
  ChannelPack<V> y;
#pragma unroll
  for (int v = 0; v < V; ++v)
    y.v[v] = a.v[v] * b.v[v];
  return y;
}

/// Fast forms of e^x and of division: an error of a few 1e-7 (1 + |x|) of the value.
__device__ inline float conv_sigmoid(float x) {
  float power, sigmoid;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * -1.4426950408889634f));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(sigmoid) : "f"(1.0f + power));
  return sigmoid;
}
template <int V>
__device__ inline ChannelPack<V> silu(const ChannelPack<V>& a) {
  ChannelPack<V> y;
#pragma unroll
  for (int v = 0; v < V; ++v)
    y.v[v] = a.v[v] * conv_sigmoid(a.v[v]);
  return y;
}
template <int V>
__device__ inline ChannelPack<V> silu_slope(const ChannelPack<V>& a) {
  ChannelPack<V> y;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const float s = conv_sigmoid(a.v[v]);
    y.v[v] = s + a.v[v] * (s - s * s);
  }
  return y;
}

/// Taps [first, first + N) of the thread's channels; zero where there are none.
template <int V, int N>
__device__ inline void load_taps(const Batched<float>& weight, const ConvPlace& at, int first,
                                 int taps, ChannelPack<V> (&to)[N]) {
  const float* from =
      weight.data + at.replica * weight.replica_stride + at.channel * weight.stride + first;
#pragma unroll
  for (int j = 0; j < N; ++j)
#pragma unroll
    for (int v = 0; v < V; ++v)
      to[j].v[v] = at.length > 0 && first + j < taps ? from[v * weight.stride + j] : 0.0f;
}

template <int V>
__device__ inline ChannelPack<V> load_bias(const Batched<float>& bias, const ConvPlace& at) {
  ChannelPack<V> b{};
  if (bias.data != nullptr && at.length > 0)
#pragma unroll
    for (int v = 0; v < V; ++v)
      b.v[v] = bias.data[at.replica * bias.replica_stride + at.channel + v];
  return b;
}

/// Where a block's share of the weight gradient goes: parts [R, slices, C K + C].
struct ConvParts {
  float* data;
  Index slices, segments_a_slice;
};

/// Writes part `slice`, the block's sums over its rows, in order. sums[j] are those of tap
/// first + j, sums[N - 1] the bias's, which only the first group of taps has.
template <int V, int N>
__device__ inline void write_parts(const ConvParts& parts, const ChannelPack<V> (&sums)[N],
                                   Index slice, Index channel_block, Index channels, int first,
                                   int taps) {
  constexpr int kMost = kConvLanes * V;
  __shared__ float shared[kConvRows][N][kMost];
#pragma unroll
  for (int j = 0; j < N; ++j)
#pragma unroll
    for (int v = 0; v < V; ++v)
      shared[threadIdx.y][j][threadIdx.x * V + v] = sums[j].v[v];
  __syncthreads();
  const int block_channels = static_cast<int>(blockDim.x) * V;
  float* to = parts.data + (blockIdx.z * parts.slices + slice) * (taps + 1) * channels;
  for (int e = threadIdx.y * blockDim.x + threadIdx.x; e < N * block_channels;
       e += blockDim.x * kConvRows) {
    const int j = e / block_channels, channel = e % block_channels, tap = first + j;
    const Index c = channel_block * block_channels + channel;
    const bool is_bias = j == N - 1;
    if (c >= channels || (is_bias ? first > 0 : tap >= taps)) continue;
    float sum = shared[0][j][channel];
    for (int w = 1; w < kConvRows; ++w)
      sum += shared[w][j][channel];
    to[is_bias ? taps * channels + c : c * taps + tap] = sum;
  }
}

/// Threads that lie side by side: about as many in all blocks along the channels, few of which are
/// then without a channel, and of whole sectors of 32 bytes.
template <int V>
inline dim3 conv_threads(Index channels) {
  constexpr Index kSector = 8 / V;
  const Index threads = (channels + V - 1) / V;
  const Index blocks = (threads + kConvLanes - 1) / kConvLanes;
  const Index lanes = (threads + blocks - 1) / blocks;
  return dim3(static_cast<unsigned>((lanes + kSector - 1) / kSector * kSector), kConvRows);
}
template <int V>
inline dim3 conv_blocks(Index blocks, Index channels, Index groups, Index replicas) {
  const Index of_block = conv_threads<V>(channels).x * V;
  return dim3(static_cast<unsigned>(blocks),
              static_cast<unsigned>((channels + of_block - 1) / of_block * groups),
              static_cast<unsigned>(replicas));
}

}  // namespace recallbench
