// Floor: forward reads x and writes y, backward reads x and dy and writes dx; gated 3 and 5
// tensors; an activation adds none. At B = 256, L = 256, C = 128 a tensor is 33.6 MB, 8 us at
// 4.2 TB/s. All that a thread reads of a step is under way before any of it is used, 11 loads of 16
// bytes forward and 16 of 8 bytes backward, and a warp's lie side by side. Backward takes 40 to 50
// instructions a number, so it is as near the floor of instructions as of bytes.
//
// Forward: a thread has kTokens tokens; the K - 1 tokens before them are another thread's of the
// same block and come from L1. Backward: a thread walks over 32 tokens with the last K - 1
// tokens of x and of d = dy ⊙ act'(conv(x)) in registers, so that one reading gives the convolution
// again, d, the weights' gradient, and dx of the token K - 1 before; K - 1 tokens of d at the end
// are computed twice. Partial weight gradients of a block are all that it adds. A walk is a chain
// of loads, so where long ones are too few to fill a GPU they are half as long. Wider filters are
// in wide_conv_cuda.cu.
#include <initializer_list>
#include <type_traits>

#include "kernels/causal_conv/causal_conv_cuda.h"
#include "kernels/causal_conv/columns.cuh"
#include "kernels/causal_conv/wide_conv_cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"

namespace recallbench {
namespace {

constexpr int kMostTaps = 4;                    // of the filters here
constexpr int kTokens = 8;                      // of a thread, forward
constexpr int kLongWalk = 32, kShortWalk = 16;  // of a thread, backward

enum class Form { plain, silu, gated };

Index ceil_div(Index a, Index b) {
  return (a + b - 1) / b;
}

/// bias + Σ_j weights[j] ⊙ window[i + j]
template <int K, int V, int N>
__device__ ChannelPack<V> convolve_at(const ChannelPack<V>& bias,
                                      const ChannelPack<V> (&weights)[K],
                                      const ChannelPack<V> (&window)[N], int i) {
  ChannelPack<V> sum = bias;
#pragma unroll
  for (int j = 0; j < K; ++j)
    add_product(weights[j], window[i + j], sum);
  return sum;
}

template <int K, int V, Form kForm>
__global__ void __launch_bounds__(kConvLanes* kConvRows)
    convolve(CausalConvCuda in, Batched<float> y, std::uint32_t segments) {
  after_previous();
  const ConvPlace at =
      ConvPlace::of<V>(static_cast<int>(y.cols), static_cast<int>(in.length), kTokens,
                       blockIdx.x * kConvRows + threadIdx.y, segments, blockIdx.y);
  if (at.length == 0) return;
  ChannelPack<V> x[K - 1 + kTokens], gate[kTokens], weights[K];
  ConvColumn<V>(in.x, at).template load<K - 1 + kTokens>(at.first - K + 1, x);
  if constexpr (kForm == Form::gated)
    ConvColumn<V>(in.gate, at).template load<kTokens>(at.first, gate);
  load_taps(in.weight, at, 0, K, weights);
  const ChannelPack<V> bias = load_bias<V>(in.bias, at);
#pragma unroll
  for (int i = 0; i < kTokens; ++i) {
    ChannelPack<V> sum = convolve_at(bias, weights, x, i);
    if constexpr (kForm == Form::silu) sum = silu(sum);
    if constexpr (kForm == Form::gated) {
      ChannelPack<V> residual = x[i + K - 1];
      add_product(sum, gate[i], residual);
      sum = residual;
    }
    x[i] = sum;  // the window has moved past it
  }
  ChannelPack<V> out[kTokens];
#pragma unroll
  for (int i = 0; i < kTokens; ++i)
    out[i] = x[i];
  ConvColumn<V>(y, at).store(at.first, out, false);
}

/// What the filter does to a lane's channels.
template <int K, int V>
struct LaneTaps {
  ChannelPack<V> weights[K], bias;
};

/// Registers are short: what is in shared memory is read again after this, and addresses are
/// computed from t again.
__device__ int start_again(int t) {
  asm volatile("" : "+r"(t)::"memory");
  return t;
}

/// All gradients. With d as above dx = conv'(d); gated d = dy ⊙ gate, dx = conv'(d) + dy and
/// dgate = dy ⊙ conv(x).
template <int K, int V, Form kForm>
__global__ void __launch_bounds__(kConvLanes* kConvRows, 2)
    backward_at_once(CausalConvCuda in, Batched<float> dy, CausalConvCudaGradients out, int walk,
                     std::uint32_t segments, ConvParts parts) {
  after_previous();
  constexpr bool kGated = kForm == Form::gated;
  constexpr int H = K - 1, N = kGated ? 4 : 8;  // tokens at a time: what the registers hold
  const ConvPlace at =
      ConvPlace::of<V>(static_cast<int>(dy.cols), static_cast<int>(in.length), walk,
                       blockIdx.x * kConvRows + threadIdx.y, segments, blockIdx.y);
  const int end = at.first + walk;
  __shared__ LaneTaps<K, V> lanes[kConvLanes];  // registers are short
  LaneTaps<K, V>& taps = lanes[threadIdx.x];
  if (threadIdx.y == 0) {
    load_taps(in.weight, at, 0, K, taps.weights);
    taps.bias = load_bias<V>(in.bias, at);
  }
  __syncthreads();
  ChannelPack<V> sums[K + 1] = {};
  ConvColumn<V> xs(in.x, at), dys(dy, at), dxs(out.x.view, at);
  dys.restrict_to(at.first, end + H);
  dxs.restrict_to(at.first, end);
  // Of the tokens t - H to t + N: x, d, and where it is another dy.
  ChannelPack<V> x[H + N], d[H + N] = {}, plain[kGated ? H + N : 1] = {};
  xs.template load<H>(at.first - H, x);
  // M tokens from t on; the last H, beyond the walk, only for dx of those before.
  const auto step = [&](auto tokens, auto beyond, int t) {
    constexpr int M = decltype(tokens)::value;
    t = start_again(t);
    xs.template load<M>(t, x, H);
    dys.template load<M>(t, d, H);
    t = start_again(t);
    if constexpr (kForm == Form::silu) {
#pragma unroll
      for (int i = 0; i < M; ++i)
        d[H + i] = product(d[H + i], silu_slope(convolve_at(taps.bias, taps.weights, x, i)));
    }
    if constexpr (kGated) {
      ChannelPack<V> gate[M], dgate[M];
      ConvColumn<V>(in.gate, at).template load<M>(t, gate);
#pragma unroll
      for (int i = 0; i < M; ++i) {
        if constexpr (!beyond)
          dgate[i] = product(d[H + i], convolve_at(taps.bias, taps.weights, x, i));
        plain[H + i] = d[H + i];
        d[H + i] = product(d[H + i], gate[i]);
      }
      if constexpr (!beyond)
        if (out.gate.wanted) ConvColumn<V>(out.gate.view, at).store(t, dgate, out.gate.accumulate);
    }
    if constexpr (!beyond) {
#pragma unroll
      for (int i = 0; i < M; ++i) {
#pragma unroll
        for (int j = 0; j < K; ++j)
          add_product(x[i + j], d[H + i], sums[j]);
#pragma unroll
        for (int v = 0; v < V; ++v)
          sums[K].v[v] += d[H + i].v[v];
      }
    }
    if (out.x.wanted) {
      t = start_again(t);
      ChannelPack<V> dx[M] = {};
#pragma unroll
      for (int i = 0; i < M; ++i) {
        if constexpr (kGated) dx[i] = plain[i];
#pragma unroll
        for (int j = 0; j < K; ++j)
          add_product(taps.weights[j], d[H + i - j], dx[i]);
      }
      dxs.store(t - H, dx, out.x.accumulate);
    }
#pragma unroll
    for (int h = 0; h < H; ++h) {
      x[h] = x[M + h];
      d[h] = d[M + h];
      if constexpr (kGated) plain[h] = plain[M + h];
    }
  };
#pragma unroll 1
  for (int t = at.first; t < end; t += N)
    step(std::integral_constant<int, N>{}, std::false_type{}, t);
  if constexpr (H > 0) step(std::integral_constant<int, H>{}, std::true_type{}, end);
  write_parts<V>(parts, sums, blockIdx.y, dy.cols, 0, K);
}

/// How many channels can be read and written at once: in every view 4, 2 or 1.
int channels_at_once(std::initializer_list<Batched<float>> views) {
  int most = 4;
  for (const Batched<float>& v : views)
    while (v.data != nullptr &&
           (reinterpret_cast<std::uintptr_t>(v.data) / 4 | v.cols | v.stride | v.replica_stride) %
                   most !=
               0)
      most /= 2;
  return most;
}

/// f(K, V, form) with constants for them, V at most kWidest.
template <int kWidest, class F>
void with_constants(const CausalConvCuda& in, int channels, const F& f) {
  const auto with_form = [&](auto taps, auto width) {
    if (in.gate.data != nullptr) return f(taps, width, std::integral_constant<Form, Form::gated>{});
    in.silu ? f(taps, width, std::integral_constant<Form, Form::silu>{})
            : f(taps, width, std::integral_constant<Form, Form::plain>{});
  };
  const auto with_width = [&](auto taps) {
    if constexpr (kWidest == 4)
      if (channels == 4) return with_form(taps, std::integral_constant<int, 4>{});
    if (channels >= 2) return with_form(taps, std::integral_constant<int, 2>{});
    with_form(taps, std::integral_constant<int, 1>{});
  };
  switch (in.weight.cols) {
    case 1:
      return with_width(std::integral_constant<int, 1>{});
    case 2:
      return with_width(std::integral_constant<int, 2>{});
    case 3:
      return with_width(std::integral_constant<int, 3>{});
    default:
      return with_width(std::integral_constant<int, 4>{});
  }
}

Index segments_of(Index examples, Index length, int tokens) {
  return examples * ceil_div(length, tokens);
}
/// Of a thread, backward; by the shape of one replica, so that its bits do not depend on others.
int walk_of(Index examples, Index length) {
  constexpr Index kEnough = 256;  // blocks: two for a multiprocessor of a large GPU
  return segments_of(examples, length, kLongWalk) < kEnough * kConvRows ? kShortWalk : kLongWalk;
}
Index slices_of(Index examples, Index length, Index taps) {
  return taps <= kMostTaps
             ? ceil_div(segments_of(examples, length, walk_of(examples, length)), kConvRows)
             : wide_conv_slices(examples, length);
}

}  // namespace

Index causal_conv_cuda_scratch(Index replicas, Index examples, Index length, Index channels,
                               Index taps, bool silu) {
  const Index argument = silu && taps > kMostTaps ? examples * length * channels : 0;
  return replicas * (slices_of(examples, length, taps) * (taps + 1) * channels + argument);
}

void causal_conv_forward_cuda(const CudaCall& call, const CausalConvCuda& in,
                              const Batched<float>& y) {
  if (in.weight.cols > kMostTaps) return wide_conv_forward_cuda(call, in, y);
  const Index segments = segments_of(y.rows / in.length, in.length, kTokens);
  with_constants<4>(
      in, channels_at_once({in.x, in.gate, y}), [&](auto taps, auto width, auto form) {
        constexpr int K = decltype(taps)::value, V = decltype(width)::value;
        cuda_launch("causal_conv convolve", convolve<K, V, decltype(form)::value>,
                    {conv_blocks<V>(ceil_div(segments, kConvRows), y.cols, 1, y.replicas),
                     conv_threads<V>(y.cols), 0, call.stream},
                    in, y, static_cast<std::uint32_t>(segments));
      });
}

void causal_conv_backward_cuda(const CudaCall& call, const CausalConvCuda& in,
                               const Batched<float>& dy, const CausalConvCudaGradients& out,
                               float* scratch) {
  const Index channels = dy.cols, taps = in.weight.cols, examples = dy.rows / in.length;
  const ConvParts parts{scratch, slices_of(examples, in.length, taps), 1};
  const Index of_parts = (taps + 1) * channels;
  if (taps > kMostTaps) {
    wide_conv_backward_cuda(call, in, dy, out, scratch,
                            scratch + dy.replicas * parts.slices * of_parts);
  } else {
    const int walk = walk_of(examples, in.length);
    const Index segments = segments_of(examples, in.length, walk);
    const int at_once = channels_at_once({in.x, in.gate, dy, out.x.view, out.gate.view});
    with_constants<2>(in, at_once, [&](auto k, auto width, auto form) {
      constexpr int V = decltype(width)::value;
      cuda_launch("causal_conv backward_at_once",
                  backward_at_once<decltype(k)::value, V, decltype(form)::value>,
                  {conv_blocks<V>(parts.slices, channels, 1, dy.replicas),
                   conv_threads<V>(channels), 0, call.stream},
                  in, dy, out, walk, static_cast<std::uint32_t>(segments), parts);
    });
  }
  sum_partials_cuda(call, dy.replicas,
                    {scratch, parts.slices, channels * taps, channels, out.weight, out.bias});
}

}  // namespace recallbench
