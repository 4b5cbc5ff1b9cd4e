#pragma once

#include "kernels/tensor/matrix.h"

// How the kernels of causal_conv see a tensor: a thread has V channels of kConvSegment tokens.

namespace recallbench {

inline constexpr int kConvLanes = 32;   // threads side by side along the channels
inline constexpr int kConvSegment = 8;  // tokens of a thread

/// V neighbouring channels of a token.
template <int V>
struct alignas(4 * V) ChannelPack {
  float v[V];
};

/// Where a thread works: its first channel, and the sizes that all tensors share. Channels beyond
/// the last read zeros and write nothing.
struct ConvLane {
  Index replica, channel, length, per_example;
  bool used;

  template <int V>
  __device__ static ConvLane of(Index channels, Index length, Index channel_block) {
    const Index channel = (channel_block * kConvLanes + threadIdx.x) * V;
    return {blockIdx.z, channel, length, (length + kConvSegment - 1) / kConvSegment,
            channel < channels};
  }
};

/// One column of one example of a tensor, V channels wide.
template <int V>
struct ConvColumn {
  float* data;
  Index stride, length;

  __device__ ConvColumn(const Batched<float>& m, const ConvLane& lane, Index segment)
      : data(m.data + lane.replica * m.replica_stride +
             segment / lane.per_example * lane.length * m.stride + lane.channel),
        stride(m.stride),
        length(lane.used ? lane.length : 0) {}

  /// Tokens [first, first + N); zeros outside the sequence.
  template <int N>
  __device__ void load(Index first, ChannelPack<V> (&to)[N]) const {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const Index t = first + i;
      to[i] = t >= 0 && t < length ? *reinterpret_cast<const ChannelPack<V>*>(data + t * stride)
                                   : ChannelPack<V>{};
    }
  }
  template <int N>
  __device__ void store(Index first, const ChannelPack<V> (&from)[N], bool accumulate) const {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const Index t = first + i;
      if (t >= length) continue;
      ChannelPack<V>* to = reinterpret_cast<ChannelPack<V>*>(data + t * stride);
      ChannelPack<V> value = from[i];
      if (accumulate) {
        const ChannelPack<V> before = *to;
#pragma unroll
        for (int v = 0; v < V; ++v)
          value.v[v] += before.v[v];
      }
      *to = value;
    }
  }
};

template <int V, int N>
__device__ inline void multiply(ChannelPack<V> (&a)[N], const ChannelPack<V> (&b)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i)
#pragma unroll
    for (int v = 0; v < V; ++v)
      a[i].v[v] *= b[i].v[v];
}

/// Taps [first, first + N) of the thread's channels; zero where there are none.
template <int V, int N>
__device__ void load_taps(const Batched<float>& weight, const ConvLane& lane, int first, int taps,
                          ChannelPack<V> (&to)[N]) {
  const float* from =
      weight.data + lane.replica * weight.replica_stride + lane.channel * weight.stride + first;
#pragma unroll
  for (int j = 0; j < N; ++j)
#pragma unroll
    for (int v = 0; v < V; ++v)
      to[j].v[v] = lane.used && first + j < taps ? from[v * weight.stride + j] : 0.0f;
}

template <int V>
__device__ ChannelPack<V> load_bias(const Batched<float>& bias, const ConvLane& lane) {
  ChannelPack<V> b{};
  if (bias.data != nullptr && lane.used)
#pragma unroll
    for (int v = 0; v < V; ++v)
      b.v[v] = bias.data[lane.replica * bias.replica_stride + lane.channel + v];
  return b;
}

}  // namespace recallbench
