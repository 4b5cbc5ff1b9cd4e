// Filters of more than four taps: a thread has 8 tokens of V channels, and reads the tokens before
// them once for each group of 8 taps, from L1 and L2 but for the first time. Forward takes the
// floor's two passes over memory, backward one kernel for dgate, one for dx and one for the
// weights; with an activation one more before them, which leaves the gradient of its argument.
#include <algorithm>

#include "kernels/causal_conv/columns.cuh"
#include "kernels/causal_conv/wide_conv_cuda.h"
#include "kernels/cuda/launch.cuh"

namespace recallbench {
namespace {

constexpr int kSegment = 8;         // tokens of a thread
constexpr int kGroup = 8;           // taps at a time
constexpr Index kSumSegments = 16;  // segments of one partial weight gradient, at least
constexpr Index kSlices = 64;       // partial weight gradients, at most

Index ceil_div(Index a, Index b) {
  return (a + b - 1) / b;
}
Index segments_of(Index examples, Index length) {
  return examples * ceil_div(length, kSegment);
}
Index segments_a_slice(Index segments) {
  return std::max(kSumSegments, ceil_div(segments, kSlices));
}

enum class Then { nothing, silu, silu_slope };

/// out = f(bias + conv(values ⊙ scale)) ⊙ gate + residual, or out += that; empty ones are left out.
/// `reversed` looks ahead, as dx = conv'(dy) does.
struct Convolution {
  Batched<float> values, scale, weight, bias, gate, residual;
  Gradient<float> out;
  int length;
  bool reversed = false;
  Then f = Then::nothing;
};

template <int V>
__global__ void __launch_bounds__(kConvLanes* kConvRows)
    convolve_wide(Convolution a, std::uint32_t segments) {
  after_previous();
  const int taps = static_cast<int>(a.weight.cols);
  const ConvPlace at = ConvPlace::of<V>(static_cast<int>(a.out.view.cols), a.length, kSegment,
                                        blockIdx.x * kConvRows + threadIdx.y, segments, blockIdx.y);
  if (at.length == 0) return;
  const ChannelPack<V> bias = load_bias<V>(a.bias, at);
  ChannelPack<V> sums[kSegment], other[kSegment];
#pragma unroll
  for (int i = 0; i < kSegment; ++i)
    sums[i] = bias;
  for (int first = 0; first < taps; first += kGroup) {
    const int from = a.reversed ? at.first + taps - first - kGroup : at.first - taps + 1 + first;
    ChannelPack<V> window[kSegment + kGroup - 1], weights[kGroup];
    ConvColumn<V>(a.values, at).template load<kSegment + kGroup - 1>(from, window);
    if (a.scale.data != nullptr) {
      ChannelPack<V> scales[kSegment + kGroup - 1];
      ConvColumn<V>(a.scale, at).template load<kSegment + kGroup - 1>(from, scales);
#pragma unroll
      for (int i = 0; i < kSegment + kGroup - 1; ++i)
        window[i] = product(window[i], scales[i]);
    }
    load_taps(a.weight, at, first, taps, weights);
#pragma unroll
    for (int j = 0; j < kGroup; ++j) {
      if (first + j >= taps) continue;
#pragma unroll
      for (int i = 0; i < kSegment; ++i)
        add_product(weights[j], a.reversed ? window[i + kGroup - 1 - j] : window[i + j], sums[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kSegment; ++i) {
    if (a.f == Then::silu) sums[i] = silu(sums[i]);
    if (a.f == Then::silu_slope) sums[i] = silu_slope(sums[i]);
  }
  if (a.gate.data != nullptr) {
    ConvColumn<V>(a.gate, at).template load<kSegment>(at.first, other);
#pragma unroll
    for (int i = 0; i < kSegment; ++i)
      sums[i] = product(sums[i], other[i]);
  }
  if (a.residual.data != nullptr) {
    ConvColumn<V>(a.residual, at).template load<kSegment>(at.first, other);
#pragma unroll
    for (int i = 0; i < kSegment; ++i)
#pragma unroll
      for (int v = 0; v < V; ++v)
        sums[i].v[v] += other[i].v[v];
  }
  ConvColumn<V>(a.out.view, at).store(at.first, sums, a.out.accumulate);
}

/// Weight and bias gradients of kGroup taps: Σ_t x[t - K + 1 + j] d[t] with d = dy ⊙ gate, and
/// Σ_t d[t].
template <int V>
__global__ void __launch_bounds__(kConvLanes* kConvRows)
    weight_sums(Batched<float> x, Batched<float> gate, Batched<float> dy, int length, int taps,
                std::uint32_t segments, int groups, ConvParts parts) {
  after_previous();
  const Index channel_block = blockIdx.y / groups;
  const int first = blockIdx.y % groups * kGroup, channels = static_cast<int>(dy.cols);
  ChannelPack<V> sums[kGroup + 1] = {};
  const std::uint32_t slice = static_cast<std::uint32_t>(parts.segments_a_slice);
  const std::uint32_t end = min((blockIdx.x + 1) * slice, segments);
  for (std::uint32_t s = blockIdx.x * slice + threadIdx.y; s < end; s += kConvRows) {
    const ConvPlace at = ConvPlace::of<V>(channels, length, kSegment, s, segments, channel_block);
    ChannelPack<V> window[kSegment + kGroup - 1], d[kSegment];
    ConvColumn<V>(x, at).template load<kSegment + kGroup - 1>(at.first - taps + 1 + first, window);
    ConvColumn<V>(dy, at).template load<kSegment>(at.first, d);
    if (gate.data != nullptr) {
      ChannelPack<V> gates[kSegment];
      ConvColumn<V>(gate, at).template load<kSegment>(at.first, gates);
#pragma unroll
      for (int i = 0; i < kSegment; ++i)
        d[i] = product(d[i], gates[i]);
    }
#pragma unroll
    for (int i = 0; i < kSegment; ++i) {
#pragma unroll
      for (int j = 0; j < kGroup; ++j)
        add_product(window[i + j], d[i], sums[j]);
#pragma unroll
      for (int v = 0; v < V; ++v)
        sums[kGroup].v[v] += d[i].v[v];
    }
  }
  write_parts<V>(parts, sums, blockIdx.x, channel_block, channels, first, taps);
}

/// Whether pairs of channels can be read and written at once.
bool in_pairs(const Batched<float>& m) {
  return m.data == nullptr || (reinterpret_cast<std::uintptr_t>(m.data) % 8 == 0 &&
                               m.stride % 2 == 0 && m.replica_stride % 2 == 0 && m.cols % 2 == 0);
}

template <int V>
void launch_convolve(const CudaCall& call, const Convolution& a) {
  const Batched<float>& to = a.out.view;
  const Index segments = segments_of(to.rows / a.length, a.length);
  cuda_launch("causal_conv convolve_wide", convolve_wide<V>,
              {conv_blocks<V>(ceil_div(segments, kConvRows), to.cols, 1, to.replicas),
               conv_threads<V>(to.cols), 0, call.stream},
              a, static_cast<std::uint32_t>(segments));
}

void convolve(const CudaCall& call, const Convolution& a) {
  const bool pairs = in_pairs(a.values) && in_pairs(a.scale) && in_pairs(a.gate) &&
                     in_pairs(a.residual) && in_pairs(a.out.view);
  pairs ? launch_convolve<2>(call, a) : launch_convolve<1>(call, a);
}

template <int V>
void launch_sums(const CudaCall& call, const CausalConvCuda& in, const Batched<float>& dy,
                 const ConvParts& parts) {
  const Index groups = ceil_div(in.weight.cols, kGroup);
  cuda_launch("causal_conv weight_sums", weight_sums<V>,
              {conv_blocks<V>(parts.slices, dy.cols, groups, dy.replicas), conv_threads<V>(dy.cols),
               0, call.stream},
              in.x, in.gate, dy, static_cast<int>(in.length), static_cast<int>(in.weight.cols),
              static_cast<std::uint32_t>(segments_of(dy.rows / in.length, in.length)),
              static_cast<int>(groups), parts);
}

}  // namespace

Index wide_conv_slices(Index examples, Index length) {
  const Index segments = segments_of(examples, length);
  return ceil_div(segments, segments_a_slice(segments));
}

void wide_conv_forward_cuda(const CudaCall& call, const CausalConvCuda& in,
                            const Batched<float>& y) {
  convolve(call, {.values = in.x,
                  .scale = {},
                  .weight = in.weight,
                  .bias = in.bias,
                  .gate = in.gate,
                  .residual = in.gate.data != nullptr ? in.x : Batched<float>{},
                  .out = {y, true, false},
                  .length = static_cast<int>(in.length),
                  .f = in.silu ? Then::silu : Then::nothing});
}

void wide_conv_backward_cuda(const CudaCall& call, const CausalConvCuda& in,
                             const Batched<float>& dy, const CausalConvCudaGradients& out,
                             float* parts, float* argument) {
  const Index segments = segments_of(dy.rows / in.length, in.length);
  const Index slice = segments_a_slice(segments);
  const Batched<float> none;
  const bool gated = in.gate.data != nullptr;
  Convolution again{.values = in.x,
                    .scale = none,
                    .weight = in.weight,
                    .bias = in.bias,
                    .gate = dy,
                    .residual = none,
                    .out = out.gate,
                    .length = static_cast<int>(in.length)};
  Batched<float> d = dy;
  if (in.silu) {
    d = {argument, dy.replicas, dy.rows, dy.cols, dy.cols, dy.rows * dy.cols};
    again.out = {d, true, false};
    again.f = Then::silu_slope;
  }
  if (again.out.wanted) convolve(call, again);
  if (out.x.wanted)
    convolve(call, {.values = d,
                    .scale = in.gate,
                    .weight = in.weight,
                    .bias = none,
                    .gate = none,
                    .residual = gated ? dy : none,
                    .out = out.x,
                    .length = static_cast<int>(in.length),
                    .reversed = true});
  if (!out.weight.wanted && !out.bias.wanted) return;
  const ConvParts to{parts, ceil_div(segments, slice), slice};
  const bool pairs = in_pairs(in.x) && in_pairs(in.gate) && in_pairs(d);
  pairs ? launch_sums<2>(call, in, d, to) : launch_sums<1>(call, in, d, to);
}

}  // namespace recallbench
