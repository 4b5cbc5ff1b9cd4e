// Floor: forward reads x and writes y, backward reads x and dy and writes dx; gated 3 and 5
// tensors. At B = 256, L = 256, C = 64 a tensor is 16.8 MB, 4 us at 4.2 TB/s. A thread holds
// kConvSegment tokens of V channels in registers; the K - 1 tokens that two segments share come
// from L1. A warp reads whole lines, and several loads are in flight before the first is used. Up
// to kInRegisters taps backward is one kernel, and the partial weight gradients of a block of rows
// are all it adds.
#include <algorithm>

#include "kernels/causal_conv/causal_conv_cuda.h"
#include "kernels/causal_conv/columns.cuh"
#include "kernels/cuda/partial_sums.h"

namespace recallbench {
namespace {

constexpr int kWarps = 8;           // segments that a block works on at a time
constexpr int kInRegisters = 4;     // taps of the widest filter that is held whole
constexpr int kGroup = 8;           // taps at a time of wider ones
constexpr Index kSumSegments = 16;  // segments of one partial weight gradient, at least
constexpr Index kWideSlices = 64;   // partial gradients of a wide filter, at most

Index ceil_div(Index a, Index b) {
  return (a + b - 1) / b;
}
Index segments_of(Index examples, Index length) {
  return examples * ceil_div(length, kConvSegment);
}
Index sum_segments(Index segments, Index taps) {
  return taps <= kInRegisters ? kSumSegments
                              : std::max(kSumSegments, ceil_div(segments, kWideSlices));
}

/// out = (bias + conv(values ⊙ scale)) ⊙ gate + residual, or out += that; empty ones are left out.
struct Convolution {
  Batched<float> values, scale, weight, bias, gate, residual;
  Gradient<float> out;
  Index length, segments;
};

/// K taps, or with K = 0 any number. `kReversed` looks ahead, as dx = conv'(dy) does.
template <int K, int V, bool kReversed>
__global__ void __launch_bounds__(kConvLanes* kWarps) convolve(Convolution a) {
  constexpr int G = K > 0 ? K : kGroup;
  const int taps = K > 0 ? K : static_cast<int>(a.weight.cols);
  const ConvLane lane = ConvLane::of<V>(a.out.view.cols, a.length, blockIdx.y);
  const Index segment = blockIdx.x * Index{kWarps} + threadIdx.y;
  if (segment >= a.segments || !lane.used) return;
  const Index t = segment % lane.per_example * kConvSegment;
  const ConvColumn<V> values(a.values, lane, segment);
  const ChannelPack<V> bias = load_bias<V>(a.bias, lane);
  ChannelPack<V> sums[kConvSegment], factors[kConvSegment];
#pragma unroll
  for (int i = 0; i < kConvSegment; ++i)
    sums[i] = bias;
  if (a.gate.data != nullptr) ConvColumn<V>(a.gate, lane, segment).load(t, factors);
  for (int first = 0; first < taps; first += G) {
    const Index from = kReversed ? t + taps - first - G : t - taps + 1 + first;
    ChannelPack<V> window[kConvSegment + G - 1], weights[G];
    values.load(from, window);
    if (a.scale.data != nullptr) {
      ChannelPack<V> scales[kConvSegment + G - 1];
      ConvColumn<V>(a.scale, lane, segment).load(from, scales);
      multiply(window, scales);
    }
    load_taps(a.weight, lane, first, taps, weights);
#pragma unroll
    for (int j = 0; j < G; ++j) {
      if (first + j >= taps) continue;
#pragma unroll
      for (int i = 0; i < kConvSegment; ++i)
#pragma unroll
        for (int v = 0; v < V; ++v)
          sums[i].v[v] += weights[j].v[v] * window[kReversed ? i + G - 1 - j : i + j].v[v];
    }
  }
  if (a.gate.data != nullptr) multiply(sums, factors);
  if (a.residual.data != nullptr) {
    ChannelPack<V> residual[kConvSegment];
    ConvColumn<V>(a.residual, lane, segment).load(t, residual);
#pragma unroll
    for (int i = 0; i < kConvSegment; ++i)
#pragma unroll
      for (int v = 0; v < V; ++v)
        sums[i].v[v] += residual[i].v[v];
  }
  ConvColumn<V>(a.out.view, lane, segment).store(t, sums, a.out.accumulate);
}

/// Where a block's share of the weight gradient goes: parts [R, slices, C K + C].
struct Parts {
  float* data;
  Index slices, segments_a_slice;
};

/// The block's sums over its warps, in order: sums[j] are those of tap first + j, sums[N - 1] the
/// bias's, which only the first group of taps has.
template <int V, int N>
__device__ void write_parts(const Parts& parts, const ChannelPack<V> (&sums)[N],
                            Index channel_block, Index channels, int first, int taps) {
  constexpr int kChannels = kConvLanes * V;
  __shared__ float shared[kWarps][N][kChannels];
#pragma unroll
  for (int j = 0; j < N; ++j)
#pragma unroll
    for (int v = 0; v < V; ++v)
      shared[threadIdx.y][j][threadIdx.x * V + v] = sums[j].v[v];
  __syncthreads();
  float* to = parts.data + (blockIdx.z * parts.slices + blockIdx.x) * (taps + 1) * channels;
  for (int e = threadIdx.y * kConvLanes + threadIdx.x; e < N * kChannels;
       e += kConvLanes * kWarps) {
    const int j = e / kChannels, tap = first + j;
    const Index c = channel_block * kChannels + e % kChannels;
    const bool is_bias = j == N - 1;
    if (c >= channels || (is_bias ? first > 0 : tap >= taps)) continue;
    float sum = shared[0][j][e % kChannels];
    for (int w = 1; w < kWarps; ++w)
      sum += shared[w][j][e % kChannels];
    to[is_bias ? taps * channels + c : c * taps + tap] = sum;
  }
}

/// sums[j] += Σ_i window[i + j] ⊙ d[i], sums[N] += Σ_i d[i].
template <int V, int N, int D>
__device__ void add_products(const ChannelPack<V> (&window)[kConvSegment + N - 1],
                             const ChannelPack<V> (&d)[D], ChannelPack<V> (&sums)[N + 1]) {
#pragma unroll
  for (int i = 0; i < kConvSegment; ++i)
#pragma unroll
    for (int v = 0; v < V; ++v) {
#pragma unroll
      for (int j = 0; j < N; ++j)
        sums[j].v[v] += window[i + j].v[v] * d[i].v[v];
      sums[N].v[v] += d[i].v[v];
    }
}

/// All gradients of up to kInRegisters taps. With d = dy ⊙ gate: dx = conv'(d) + dy,
/// dgate = dy ⊙ conv(x); without a gate d = dy and dx = conv'(d).
template <int K, int V, bool kGated>
__global__ void __launch_bounds__(kConvLanes* kWarps)
    backward_at_once(CausalConvBackward b, Index length, Index segments, Parts parts) {
  const Index channels = b.dy.cols;
  const ConvLane lane = ConvLane::of<V>(channels, length, blockIdx.y);
  ChannelPack<V> weights[K], sums[K + 1] = {};
  load_taps(b.weight, lane, 0, K, weights);
  const ChannelPack<V> bias = load_bias<V>(b.bias, lane);
  const Index end = min((blockIdx.x + 1) * parts.segments_a_slice, segments);
  for (Index s = blockIdx.x * parts.segments_a_slice + threadIdx.y; s < end; s += kWarps) {
    const Index t = s % lane.per_example * kConvSegment;
    ChannelPack<V> x[kConvSegment + K - 1], d[kConvSegment + K - 1], dx[kConvSegment] = {};
    ConvColumn<V>(b.x, lane, s).load(t - K + 1, x);
    ConvColumn<V>(b.dy, lane, s).load(t, d);
    if constexpr (kGated) {
      ChannelPack<V> gate[kConvSegment + K - 1], dgate[kConvSegment];
      ConvColumn<V>(b.gate, lane, s).load(t, gate);
#pragma unroll
      for (int i = 0; i < kConvSegment; ++i)
#pragma unroll
        for (int v = 0; v < V; ++v) {
          float conv = bias.v[v];
#pragma unroll
          for (int j = 0; j < K; ++j)
            conv += weights[j].v[v] * x[i + j].v[v];
          dgate[i].v[v] = d[i].v[v] * conv;
          dx[i].v[v] = d[i].v[v];
        }
      if (b.dgate.wanted) ConvColumn<V>(b.dgate.view, lane, s).store(t, dgate, b.dgate.accumulate);
      multiply(d, gate);
    }
    if (b.dx.wanted) {
#pragma unroll
      for (int j = 0; j < K; ++j)
#pragma unroll
        for (int i = 0; i < kConvSegment; ++i)
#pragma unroll
          for (int v = 0; v < V; ++v)
            dx[i].v[v] += weights[j].v[v] * d[i + K - 1 - j].v[v];
      ConvColumn<V>(b.dx.view, lane, s).store(t, dx, b.dx.accumulate);
    }
    add_products<V, K>(x, d, sums);
  }
  write_parts<V>(parts, sums, blockIdx.y, channels, 0, K);
}

/// Weight and bias gradients of kGroup taps of a wide filter.
template <int V>
__global__ void __launch_bounds__(kConvLanes* kWarps)
    weight_sums(CausalConvBackward b, Index length, Index segments, int groups, Parts parts) {
  const Index channels = b.dy.cols, channel_block = blockIdx.y / groups;
  const int taps = static_cast<int>(b.weight.cols), first = blockIdx.y % groups * kGroup;
  const ConvLane lane = ConvLane::of<V>(channels, length, channel_block);
  ChannelPack<V> sums[kGroup + 1] = {};
  const Index end = min((blockIdx.x + 1) * parts.segments_a_slice, segments);
  for (Index s = blockIdx.x * parts.segments_a_slice + threadIdx.y; s < end; s += kWarps) {
    const Index t = s % lane.per_example * kConvSegment;
    ChannelPack<V> x[kConvSegment + kGroup - 1], d[kConvSegment];
    ConvColumn<V>(b.x, lane, s).load(t - taps + 1 + first, x);
    ConvColumn<V>(b.dy, lane, s).load(t, d);
    if (b.gate.data != nullptr) {
      ChannelPack<V> gate[kConvSegment];
      ConvColumn<V>(b.gate, lane, s).load(t, gate);
      multiply(d, gate);
    }
    add_products<V, kGroup>(x, d, sums);
  }
  write_parts<V>(parts, sums, channel_block, channels, first, taps);
}

/// Whether pairs of channels can be read and written at once.
bool in_pairs(const Batched<float>& m) {
  return reinterpret_cast<std::uintptr_t>(m.data) % 8 == 0 && m.stride % 2 == 0 &&
         m.replica_stride % 2 == 0 && m.cols % 2 == 0;
}

template <int V>
dim3 grid_of(Index blocks, Index channels, Index groups, Index replicas) {
  return dim3(static_cast<unsigned>(blocks),
              static_cast<unsigned>(ceil_div(channels, kConvLanes * V) * groups),
              static_cast<unsigned>(replicas));
}

template <int V, bool kReversed>
void launch_convolve(const CudaCall& call, const Convolution& a) {
  const dim3 threads(kConvLanes, kWarps);
  const dim3 grid =
      grid_of<V>(ceil_div(a.segments, kWarps), a.out.view.cols, 1, a.out.view.replicas);
  switch (a.weight.cols) {
    case 1:
      convolve<1, V, kReversed><<<grid, threads, 0, call.stream>>>(a);
      break;
    case 2:
      convolve<2, V, kReversed><<<grid, threads, 0, call.stream>>>(a);
      break;
    case 3:
      convolve<3, V, kReversed><<<grid, threads, 0, call.stream>>>(a);
      break;
    case 4:
      convolve<4, V, kReversed><<<grid, threads, 0, call.stream>>>(a);
      break;
    default:
      convolve<0, V, kReversed><<<grid, threads, 0, call.stream>>>(a);
  }
  cuda_check_launch("causal_conv convolve");
}

template <int K, int V>
void launch_at_once(const CudaCall& call, const CausalConvBackward& b, Index length, Index segments,
                    const Parts& parts) {
  const dim3 threads(kConvLanes, kWarps);
  const dim3 grid = grid_of<V>(parts.slices, b.dy.cols, 1, b.dy.replicas);
  if (b.gate.data != nullptr)
    backward_at_once<K, V, true><<<grid, threads, 0, call.stream>>>(b, length, segments, parts);
  else
    backward_at_once<K, V, false><<<grid, threads, 0, call.stream>>>(b, length, segments, parts);
  cuda_check_launch("causal_conv backward_at_once");
}

/// A pass for dgate, one for dx and one for the weights.
template <int V>
void launch_wide(const CudaCall& call, const CausalConvBackward& b, Index length, Index segments,
                 const Parts& parts) {
  const Batched<float> none;
  if (b.dgate.wanted)
    launch_convolve<V, false>(call,
                              {b.x, none, b.weight, b.bias, b.dy, none, b.dgate, length, segments});
  if (b.dx.wanted)
    launch_convolve<V, true>(call, {b.dy, b.gate, b.weight, none, none,
                                    b.gate.data != nullptr ? b.dy : none, b.dx, length, segments});
  if (!b.dweight.wanted && !b.dbias.wanted) return;
  const Index groups = ceil_div(b.weight.cols, kGroup);
  weight_sums<V>
      <<<grid_of<V>(parts.slices, b.dy.cols, groups, b.dy.replicas), dim3(kConvLanes, kWarps), 0,
         call.stream>>>(b, length, segments, static_cast<int>(groups), parts);
  cuda_check_launch("causal_conv weight_sums");
}

template <int V>
void launch_backward(const CudaCall& call, const CausalConvBackward& b, Index length,
                     Index segments, const Parts& parts) {
  switch (b.weight.cols) {
    case 1:
      return launch_at_once<1, V>(call, b, length, segments, parts);
    case 2:
      return launch_at_once<2, V>(call, b, length, segments, parts);
    case 3:
      return launch_at_once<3, V>(call, b, length, segments, parts);
    case 4:
      return launch_at_once<4, V>(call, b, length, segments, parts);
    default:
      return launch_wide<V>(call, b, length, segments, parts);
  }
}

}  // namespace

Index causal_conv_cuda_scratch(Index replicas, Index examples, Index length, Index channels,
                               Index taps) {
  const Index segments = segments_of(examples, length);
  return replicas * ceil_div(segments, sum_segments(segments, taps)) * (taps + 1) * channels;
}

void causal_conv_forward_cuda(const CudaCall& call, const Batched<float>& x,
                              const Batched<float>& gate, const Batched<float>& weight,
                              const Batched<float>& bias, Index length, const Batched<float>& y) {
  const Batched<float> none;
  const bool gated = gate.data != nullptr;
  const Convolution a{x,
                      none,
                      weight,
                      bias,
                      gate,
                      gated ? x : none,
                      {y, true, false},
                      length,
                      segments_of(x.rows / length, length)};
  if (in_pairs(x) && in_pairs(y) && (!gated || in_pairs(gate)))
    launch_convolve<2, false>(call, a);
  else
    launch_convolve<1, false>(call, a);
}

void causal_conv_backward_cuda(const CudaCall& call, const CausalConvBackward& b, Index length,
                               float* scratch) {
  const Index channels = b.dy.cols, taps = b.weight.cols;
  const Index segments = segments_of(b.dy.rows / length, length);
  const Index a_slice = sum_segments(segments, taps);
  const Parts parts{scratch, ceil_div(segments, a_slice), a_slice};
  const bool pairs =
      in_pairs(b.x) && in_pairs(b.dy) && (b.gate.data == nullptr || in_pairs(b.gate)) &&
      (!b.dx.wanted || in_pairs(b.dx.view)) && (!b.dgate.wanted || in_pairs(b.dgate.view));
  pairs ? launch_backward<2>(call, b, length, segments, parts)
        : launch_backward<1>(call, b, length, segments, parts);
  sum_partials_cuda(call, b.dy.replicas,
                    {scratch, parts.slices, channels * taps, channels, b.dweight, b.dbias});
}

}  // namespace recallbench
