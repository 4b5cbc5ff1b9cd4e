#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/elements.cuh"
#include "kernels/linear_attention/products.cuh"
#include "kernels/ssd/ssd_cpu.h"

// What both directions of ssd share on a GPU. A block is one example, one head and up to 64 of its
// channels; it walks the sequence in chunks of 64 tokens that lie in shared memory, with the state
// of up to 64 of the N numbers. All is linear in what a state's rows contribute, so more of them
// are further launches that add. Products are those of products.cuh: a warp has 16 tokens, or all
// rows of the state and 16 channels. Which tokens changes from chunk to chunk, since pairs of
// tokens make some of them more work than others.

namespace recallbench {

inline constexpr int kSsdChunk = 64;
inline constexpr int kSsdChannels = 64;
inline constexpr int kSsdThreads = 128;
inline constexpr int kSsdWarps = kSsdThreads / 32;
inline constexpr int kSsdMostStates = 64;
inline constexpr int kSsdPad = 4;  // numbers between rows in shared memory
inline constexpr int kSsdStride = kSsdChannels + kSsdPad;
static_assert(16 * kSsdWarps == kSsdChunk && 16 * kSsdWarps == kSsdChannels);

/// States [first, first + width) of all N, in one launch.
struct SsdStates {
  Index first;
  int width;

  /// The numbers that a share of b or c has: whole quads.
  __host__ __device__ int share() const { return (width + 3) / 4 * 4; }
};

inline SsdStates ssd_states(const SsdSize& s, Index first) {
  const Index left = s.states - first;
  return {first, static_cast<int>(left < kSsdMostStates ? left : Index{kSsdMostStates})};
}

/// launch(P, N) with a precision and N, constants: the states that a block keeps.
template <class Launch>
void ssd_dispatch(Precision precision, int width, const Launch& launch) {
  const auto with_states = [&](auto p) {
    if (width <= 16)
      launch(p, std::integral_constant<int, 16>{});
    else if (width <= 32)
      launch(p, std::integral_constant<int, 32>{});
    else
      launch(p, std::integral_constant<int, 64>{});
  };
  switch (precision) {
    case Precision::fp32:
      return with_states(std::integral_constant<Precision, Precision::fp32>{});
    case Precision::tf32:
      return with_states(std::integral_constant<Precision, Precision::tf32>{});
    case Precision::bf16:
      return with_states(std::integral_constant<Precision, Precision::bf16>{});
  }
}

inline Index ssd_parts(const SsdSize& s) {  // of a head's channels
  return (s.head_dim + kSsdChannels - 1) / kSsdChannels;
}
__host__ __device__ inline Index ssd_chunks(const SsdSize& s) {
  return (s.length + kSsdChunk - 1) / kSsdChunk;
}

using SsdTokens = float[kSsdChunk][kSsdStride];
template <int N>
using SsdStateRows = float[kSsdChunk][N + kSsdPad];
template <int N>
using SsdState = float[N][kSsdStride];
/// A warp's part of a state: rows in groups of 16, two fragments of its 16 channels.
template <int N>
using SsdStateFragments = float[N / 16][2][4];

/// Which views can be read in pieces of four numbers from each head or group on, and which written
/// in pieces of two.
struct SsdAligned {
  bool x, b, c, gradient;  ///< gradient: of y
  bool output;             ///< y forward, the gradient of x backward

  SsdAligned(const SsdSize& s, const SsdViews<float>& in, const Batched<float>& dy,
             const Batched<float>& out)
      : x(in_quads(in.x) && s.head_dim % 4 == 0),
        b(in_quads(in.b) && s.states % 4 == 0),
        c(in_quads(in.c) && s.states % 4 == 0),
        gradient(in_quads(dy) && s.head_dim % 4 == 0),
        output(reinterpret_cast<std::uintptr_t>(out.data) % 8 == 0 && out.stride % 2 == 0 &&
               out.replica_stride % 2 == 0 && s.head_dim % 2 == 0) {}
};

/// A block's place. Parts of a head's channels are neighbours, then heads.
struct SsdPlace {
  Index replica, example, head, part, parts, group, row;  // row: the example's first
  Index channel;                                          // the first, of all heads
  int channels;                                           // of this part

  __device__ SsdPlace(const SsdSize& s, Index parts) : parts(parts) {
    part = blockIdx.x % parts;
    head = blockIdx.x / parts % s.heads;
    example = blockIdx.x / parts / s.heads % s.examples;
    replica = blockIdx.x / parts / s.heads / s.examples;
    group = head / (s.heads / s.groups);
    row = example * s.length;
    channel = head * s.head_dim + part * kSsdChannels;
    const Index left = s.head_dim - part * kSsdChannels;
    channels = static_cast<int>(left < kSsdChannels ? left : Index{kSsdChannels});
  }
  __device__ Index head_part() const { return head * parts + part; }
};

__device__ inline float* ssd_row(const Batched<float>& m, Index replica, Index row) {
  return m.data + replica * m.replica_stride + row * m.stride;
}

/// d of channel p of the block.
__device__ inline float ssd_skip(const SsdSize& s, const Batched<float>& d, const SsdPlace& at,
                                 int p) {
  return ssd_row(d, at.replica, 0)[s.skips == s.heads ? at.head : at.channel + p];
}

/// Numbers on their way to shared memory: to[i][j] = from[i stride + j] for i < kRows, zeros from
/// row `rows` and column `cols` on. Ends when the thread waits for its copies.
template <int kRows, int kWidth>
__device__ inline void ssd_copy_async(const float* from, Index stride, int rows, int cols,
                                      bool quads, float* to) {
  constexpr int kTo = kWidth + kSsdPad, kAcross = kWidth / 4, kDown = kSsdThreads / kAcross;
  const int thread = static_cast<int>(threadIdx.x), j = thread % kAcross * 4;
#pragma unroll
  for (int i = thread / kAcross; i < kRows; i += kDown) {
    const float* source = from + i * stride + j;
    float* const place = to + i * kTo + j;
    if (quads && i < rows && j < cols) {
      copy_async<16>(place, source);
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (i < rows && j + k < cols)
          copy_async<4>(place + k, source + k);
        else
          place[k] = 0;
    }
  }
}

/// Tokens from t on, of b or c.
template <int N>
__device__ void ssd_copy_states(const Batched<float>& from, const SsdSize& s, const SsdPlace& at,
                                const SsdStates& states, Index t, bool quads, SsdStateRows<N>& to) {
  const Index left = s.length - t;
  ssd_copy_async<kSsdChunk, N>(
      ssd_row(from, at.replica, at.row + t) + at.group * s.states + states.first, from.stride,
      static_cast<int>(left < kSsdChunk ? left : Index{kSsdChunk}), states.width, quads, &to[0][0]);
}

/// Tokens from t on, of x or the gradient of y.
__device__ inline void ssd_copy_tokens(const Batched<float>& from, const SsdSize& s,
                                       const SsdPlace& at, Index t, bool quads, SsdTokens& to) {
  const Index left = s.length - t;
  ssd_copy_async<kSsdChunk, kSsdChannels>(
      ssd_row(from, at.replica, at.row + t) + at.channel, from.stride,
      static_cast<int>(left < kSsdChunk ? left : Index{kSsdChunk}), at.channels, quads, &to[0][0]);
}

/// A decay of this logarithm to base 2; below 1e-30 it is 0, and a NaN stays.
__device__ inline float ssd_power(float logarithm) {
  return logarithm < -99.65784f ? 0.0f : exp2f(logarithm);
}

/// The step sizes of a chunk; tokens beyond the sequence have none and do not decay. Decays between
/// two tokens are differences of logarithms, whose sums are kept as two numbers each: large decays
/// of earlier tokens leave the later ones exact.
struct SsdSteps {
  float delta[kSsdChunk];                 // step sizes after softplus
  float high[kSsdChunk], low[kSsdChunk];  // log2 a_0 ... a_t
  float since_start[kSsdChunk];           // a_0 ... a_t
  float entering[kSsdChunk];              // Δ_t a_{t+1} ... a_end

  /// By a whole warp; the others see it after a barrier.
  __device__ void load(const SsdSize& s, const SsdViews<float>& in, const SsdPlace& at, Index t,
                       float rate) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float step[2];
    double sum[2];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const Index i = t + 2 * lane + k;
      step[k] = 0;
      if (i < s.length) {
        const float x = ssd_row(in.dt, at.replica, at.row + i)[at.head] +
                        ssd_row(in.dt_bias, at.replica, 0)[at.head];
        step[k] = x > 20.0f ? x : log1pf(expf(x));
      }
      const float logarithm = -rate * step[k] * 1.44269504f;
      sum[k] = logarithm < -1024.0f ? -1024.0f : logarithm;  // one such is a decay to 0
    }
    double total = sum[0] + sum[1];
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const double before = __shfl_up_sync(0xffffffffu, total, offset);
      if (lane >= offset) total += before;
    }
    const double before = __shfl_up_sync(0xffffffffu, total, 1);
    sum[0] += lane > 0 ? before : 0.0;
    sum[1] = total;
    const double all = __shfl_sync(0xffffffffu, total, 31);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int i = 2 * lane + k;
      delta[i] = step[k];
      high[i] = static_cast<float>(sum[k]);
      low[i] = static_cast<float>(sum[k] - high[i]);
      since_start[i] = ssd_power(high[i]);
      entering[i] = ssd_power(static_cast<float>(all - sum[k])) * step[k];
    }
  }
  __device__ float over_chunk() const {
    return since_start[kSsdChunk - 1];
  }
  /// a_{t+1} ... a_end.
  __device__ float to_end(int t) const {
    return ssd_power(high[kSsdChunk - 1] - high[t] + (low[kSsdChunk - 1] - low[t]));
  }
};

/// c [16, 8 M] += a [16, inner] b [inner, 8 M] of a warp, for a[i][k] and b[k][column].
template <Product P, int M>
__device__ inline void ssd_mixed_product(float (&c)[M][4], const float* a, int a_stride,
                                         const float* b, int b_stride, int inner) {
  const float *a0 = a + lane_row() * a_stride, *a1 = a0 + 8 * a_stride;
  for (int k = 0; k < inner; k += 16) {
    if constexpr (P == Product::fp32) {
#pragma unroll 4
      for (int j = k; j < k + 16; ++j)
        add_outer(c, a0[j], a1[j], b + j * b_stride, M);
    } else {
      const int j = k + 2 * lane_column();
      const LeftFactor<P> left({a0[j], a0[j + 1], a0[j + 8], a0[j + 9]},
                               {a1[j], a1[j + 1], a1[j + 8], a1[j + 9]});
      add_columns(c, left, b + k * b_stride, b_stride, M);
    }
  }
}

/// c [16, 8 M] += Σ_k f[k] a[k][i] b[k][column] over a chunk's tokens k.
template <Product P, int M>
__device__ inline void ssd_weighted_product(float (&c)[M][4], const float* f, const float* a,
                                            int a_stride, const float* b, int b_stride) {
  const int g = lane_row(), t = lane_column();
#pragma unroll
  for (int k = 0; k < kSsdChunk; k += 16) {
    if constexpr (P == Product::fp32) {
#pragma unroll 4
      for (int j = k; j < k + 16; ++j)
        add_outer(c, f[j] * a[j * a_stride + g], f[j] * a[j * a_stride + g + 8], b + j * b_stride,
                  M);
    } else {
      const float *a0 = a + (k + 2 * t) * a_stride + g, *a1 = a0 + 8;
      const float2 first = *reinterpret_cast<const float2*>(f + k + 2 * t);
      const float2 second = *reinterpret_cast<const float2*>(f + k + 2 * t + 8);
      const LeftFactor<P> left({first.x * a0[0], first.y * a0[a_stride],
                                second.x * a0[8 * a_stride], second.y * a0[9 * a_stride]},
                               {first.x * a1[0], first.y * a1[a_stride],
                                second.x * a1[8 * a_stride], second.y * a1[9 * a_stride]});
      add_columns(c, left, b + k * b_stride, b_stride, M);
    }
  }
}

/// state = over · state + Σ_k f[k] rows[k] tokens[k]ᵀ over a chunk's tokens: the warp's fragments.
template <Product P, int N>
__device__ void ssd_advance(float over, const float* f, const SsdStateRows<N>& rows,
                            const SsdTokens& tokens, SsdStateFragments<N>& state) {
  const int channel = static_cast<int>(threadIdx.x) / 32 * 16;
#pragma unroll
  for (int m = 0; m < N / 16; ++m) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        state[m][j][e] *= over;
    ssd_weighted_product<P>(state[m], f, &rows[0][16 * m], N + kSsdPad, &tokens[0][channel],
                            kSsdStride);
  }
}

/// body(m, j, e, n, p): element e and its right neighbour of the warp's fragment (m, j) are at row
/// n and channels p and p + 1 of the state.
template <int N, class Body>
__device__ inline void ssd_for_state(const Body& body) {
  const int channel = static_cast<int>(threadIdx.x) / 32 * 16 + 2 * lane_column();
#pragma unroll
  for (int m = 0; m < N / 16; ++m)
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int e = 0; e < 4; e += 2)
        body(m, j, e, 16 * m + lane_row() + 4 * e, channel + 8 * j);
}

/// The warp's part of a state to rows that are `stride` apart.
template <int N>
__device__ inline void ssd_store_state(const SsdStateFragments<N>& state, float* to, int stride) {
  ssd_for_state<N>([&](int m, int j, int e, int n, int p) {
    *reinterpret_cast<float2*>(to + n * stride + p) =
        make_float2(state[m][j][e], state[m][j][e + 1]);
  });
}

/// Two neighbouring numbers, written or added.
__device__ inline void ssd_store_pair(float* to, bool pairs, bool second, bool add, float2 value) {
  if (pairs) {
    float2* const place = reinterpret_cast<float2*>(to);
    const float2 old = add ? *place : make_float2(0, 0);
    *place = make_float2(old.x + value.x, old.y + value.y);
  } else {
    to[0] = add ? to[0] + value.x : value.x;
    if (second) to[1] = add ? to[1] + value.y : value.y;
  }
}

}  // namespace recallbench
