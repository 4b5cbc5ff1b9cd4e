// Floor: forward reads x and writes y, backward reads x and dy and writes dx; gated 3 and 5
// tensors; an activation adds none. At B = 256, L = 256, C = 128 a tensor is 33.6 MB, 8 us at
// 4.2 TB/s. All that a thread reads of a step is under way before any of it is used, 11 loads of 16
// bytes forward and 19 of 8 bytes backward, and a warp's lie side by side, as do those of blocks
// that run at a time. With four taps a number takes 6 instructions forward and 19 backward, with
// SiLU 11 and 30, gated 8 and 37: less than half of what the floor of bytes leaves time for.
//
// A thread walks over a segment of tokens, K - 1 of x before each step again, from L1. Backward has
// the last K - 1 tokens of d = dy ⊙ act'(conv(x)) in registers, so that one reading gives the
// convolution again, d, the weights' gradient, and dx of the token K - 1 before; K - 1 tokens of d
// at the end of a walk are computed twice. Partial weight gradients of a block are all that it
// adds. A walk is a chain of loads, so where long ones are too few to fill a GPU they are shorter.
// Wider filters are in wide_conv_cuda.cu.
#include <initializer_list>
#include <type_traits>

#include "kernels/causal_conv/causal_conv_cuda.h"
#include "kernels/causal_conv/columns.cuh"
#include "kernels/causal_conv/wide_conv_cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"

namespace recallbench {
namespace {

constexpr int kMostTaps = 4;  // of the filters here
// Tokens of a thread: multiples of those that it takes at a time, the most first.
constexpr std::initializer_list<int> kForwardWalks = {32, 8}, kBackwardWalks = {64, 32, 16};

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

/// How the blocks share the work: segments of `tokens` tokens, kConvRows a slice. All channels of a
/// slice come before the next slice, so that what is on its way at a time lies side by side.
struct Tiles {
  int tokens;
  std::uint32_t segments, channel_blocks;

  __device__ std::uint32_t slice() const { return blockIdx.x / channel_blocks; }
  __device__ std::uint32_t channel_block() const { return blockIdx.x % channel_blocks; }
  template <int V>
  __device__ ConvPlace place(Index channels, Index length) const {
    return ConvPlace::of<V>(static_cast<int>(channels), static_cast<int>(length), tokens,
                            slice() * kConvRows + threadIdx.y, segments, channel_block());
  }
};

template <int K, int V, Form kForm>
__global__ void __launch_bounds__(kConvLanes* kConvRows)
    convolve(CausalConvCuda in, Batched<float> y, Tiles tiles) {
  after_previous();
  constexpr int H = K - 1, N = 8;  // tokens at a time
  const ConvPlace at = tiles.place<V>(y.cols, in.length);
  if (at.length == 0) return;
  const ConvColumn<V> xs(in.x, at), ys(y, at);
  ChannelPack<V> weights[K];
  load_taps(in.weight, at, 0, K, weights);
  const ChannelPack<V> bias = load_bias<V>(in.bias, at);
  const int end = min(at.first + tiles.tokens, at.length);
#pragma unroll 1
  for (int t = at.first; t < end; t += N) {
    ChannelPack<V> x[H + N], out[N];
    [[maybe_unused]] ChannelPack<V> gate[N];
    const auto load = [&](auto held) {
      xs.template load<H + N, held>(t - H, x);
      if constexpr (kForm == Form::gated)
        ConvColumn<V>(in.gate, at).template load<N, held>(t, gate);
    };
    xs.holds(t - H, H + N) ? load(std::true_type{}) : load(std::false_type{});
#pragma unroll
    for (int i = 0; i < N; ++i) {
      ChannelPack<V> sum = convolve_at(bias, weights, x, i);
      if constexpr (kForm == Form::silu) sum = silu(sum);
      out[i] = sum;
      if constexpr (kForm == Form::gated) {
        out[i] = x[i + H];
        add_product(sum, gate[i], out[i]);
      }
    }
    ys.store(t, out, false);
  }
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
    backward_at_once(CausalConvCuda in, Batched<float> dy, CausalConvCudaGradients out,
                     ConvParts parts, Tiles tiles) {
  after_previous();
  constexpr bool kGated = kForm == Form::gated;
  constexpr int H = K - 1, N = kGated ? 4 : 8;  // tokens at a time: what registers hold
  const ConvPlace at = tiles.place<V>(dy.cols, in.length);
  const ConvColumn<V> xs(in.x, at), dys(dy, at);
  ConvColumn<V> dxs(out.x.view, at);
  dxs.restrict_to(at.first, at.first + tiles.tokens);
  // Of the tokens t - H to t + N: d, and where it is another dy.
  ChannelPack<V> d[H + N] = {}, plain[kGated ? H + N : 1] = {};
  __shared__ LaneTaps<K, V> lanes[kConvLanes];  // registers are short
  LaneTaps<K, V>& taps = lanes[threadIdx.x];
  if (threadIdx.y == 0) {
    load_taps(in.weight, at, 0, K, taps.weights);
    taps.bias = load_bias<V>(in.bias, at);
  }
  __syncthreads();
  ChannelPack<V> sums[K + 1] = {};
  // M tokens from t on; the last H, beyond the walk, only for dx of those before.
  const auto step = [&](auto tokens, auto beyond, int t) {
    constexpr int M = decltype(tokens)::value;
    t = start_again(t);
    ChannelPack<V> x[H + M];
    [[maybe_unused]] ChannelPack<V> gate[M];
    const auto load = [&](auto held) {
      xs.template load<H + M, held>(t - H, x);
      dys.template load<M, held>(t, d, H);
      if constexpr (kGated) ConvColumn<V>(in.gate, at).template load<M, held>(t, gate);
    };
    xs.holds(t - H, H + M) ? load(std::true_type{}) : load(std::false_type{});
    t = start_again(t);
    if constexpr (kForm == Form::silu) {
#pragma unroll
      for (int i = 0; i < M; ++i)
        d[H + i] = product(d[H + i], silu_slope(convolve_at(taps.bias, taps.weights, x, i)));
    }
    if constexpr (kGated) {
      ChannelPack<V> dgate[M];
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
      d[h] = d[M + h];
      if constexpr (kGated) plain[h] = plain[M + h];
    }
  };
  const int end = min(at.first + tiles.tokens, at.length);
  int t = at.first;
#pragma unroll 1
  for (; t < end; t += N)
    step(std::integral_constant<int, N>{}, std::false_type{}, t);
  if constexpr (H > 0) step(std::integral_constant<int, H>{}, std::true_type{}, t);
  write_parts<V>(parts, sums, tiles.slice(), tiles.channel_block(), dy.cols, 0, K);
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
/// The longest walk that leaves enough threads to fill a large GPU, or the shortest.
int walk_of(std::initializer_list<int> walks, Index examples, Index length, Index channels) {
  constexpr Index kEnough = 1 << 17;  // columns; a thread has one, two or four
  int walk = 0;
  for (int tokens : walks) {
    walk = tokens;
    if (segments_of(examples, length, tokens) * channels >= kEnough) break;
  }
  return walk;
}
/// Backward; by the shape of one replica, so that its bits do not depend on others.
int backward_walk(Index examples, Index length, Index channels) {
  return walk_of(kBackwardWalks, examples, length, channels);
}
Index slices_of(Index examples, Index length, Index channels, Index taps) {
  if (taps > kMostTaps) return wide_conv_slices(examples, length);
  const int walk = backward_walk(examples, length, channels);
  return ceil_div(segments_of(examples, length, walk), kConvRows);
}

/// kernel(arguments..., tiles) over the rows and channels of `like`, V channels at once.
template <int V, class Kernel, class... Arguments>
void launch(const CudaCall& call, const char* name, Kernel* kernel, const Batched<float>& like,
            Index length, int walk, const Arguments&... arguments) {
  const Index segments = segments_of(like.rows / length, length, walk);
  const dim3 blocks = conv_blocks<V>(ceil_div(segments, kConvRows), like.cols, 1, like.replicas);
  cuda_launch(name, kernel,
              {dim3(blocks.x * blocks.y, 1, blocks.z), conv_threads<V>(like.cols), 0, call.stream},
              arguments..., Tiles{walk, static_cast<std::uint32_t>(segments), blocks.y});
}

}  // namespace

Index causal_conv_cuda_scratch(Index replicas, Index examples, Index length, Index channels,
                               Index taps, bool silu) {
  const Index argument = silu && taps > kMostTaps ? examples * length * channels : 0;
  return replicas *
         (slices_of(examples, length, channels, taps) * (taps + 1) * channels + argument);
}

void causal_conv_forward_cuda(const CudaCall& call, const CausalConvCuda& in,
                              const Batched<float>& y) {
  if (in.weight.cols > kMostTaps) return wide_conv_forward_cuda(call, in, y);
  const int walk = walk_of(kForwardWalks, y.replicas * y.rows / in.length, in.length, y.cols);
  with_constants<4>(in, channels_at_once({in.x, in.gate, y}),
                    [&](auto taps, auto width, auto form) {
                      constexpr int V = decltype(width)::value;
                      launch<V>(call, "causal_conv convolve",
                                convolve<decltype(taps)::value, V, decltype(form)::value>, y,
                                in.length, walk, in, y);
                    });
}

void causal_conv_backward_cuda(const CudaCall& call, const CausalConvCuda& in,
                               const Batched<float>& dy, const CausalConvCudaGradients& out,
                               float* scratch) {
  const Index channels = dy.cols, taps = in.weight.cols, examples = dy.rows / in.length;
  const ConvParts parts{scratch, slices_of(examples, in.length, channels, taps), 1};
  if (taps > kMostTaps) {
    wide_conv_backward_cuda(call, in, dy, out, scratch,
                            scratch + dy.replicas * parts.slices * (taps + 1) * channels);
  } else {
    const int at_once = channels_at_once({in.x, in.gate, dy, out.x.view, out.gate.view});
    with_constants<2>(in, at_once, [&](auto k, auto width, auto form) {
      constexpr int V = decltype(width)::value;
      launch<V>(call, "causal_conv backward_at_once",
                backward_at_once<decltype(k)::value, V, decltype(form)::value>, dy, in.length,
                backward_walk(examples, in.length, channels), in, dy, out, parts);
    });
  }
  sum_partials_cuda(call, dy.replicas,
                    {scratch, parts.slices, channels * taps, channels, out.weight, out.bias});
}

}  // namespace recallbench
