#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/linear_attention/products.cuh"
#include "kernels/ssd/ssd_cpu.h"

// What both directions of ssd share on a GPU. A block is one example, one head and up to 64 of its
// channels; it walks the sequence in chunks of 64 tokens that lie in shared memory, with the state
// of up to 32 of the N numbers. All is linear in what a state's rows contribute, so more of them
// are further launches that add. Products are those of products.cuh: a warp has 16 tokens, or all
// rows of the state and 16 channels. Which tokens changes from chunk to chunk and from block to
// block, since pairs of tokens make some of them more work than others.

namespace recallbench {

inline constexpr int kSsdChunk = 64;
inline constexpr int kSsdChannels = 64;
inline constexpr int kSsdThreads = 128;
inline constexpr int kSsdWarps = kSsdThreads / 32;
inline constexpr int kSsdMostStates = 32;
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
    else
      launch(p, std::integral_constant<int, kSsdMostStates>{});
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
  int turn;  // of warps: blocks beside each other begin with others

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
    const Index of_replica = (example * s.heads + head) * parts + part;
    turn = static_cast<int>((of_replica + of_replica / 128) % kSsdWarps);
  }
  /// Which 16 tokens of chunk k a warp has: the same in every replica, since they order sums.
  __device__ int tokens_of(int warp, Index k) const {
    return (warp + turn + static_cast<int>(k % kSsdWarps)) % kSsdWarps;
  }
  __device__ Index head_part() const { return head * parts + part; }
};

__device__ inline float* ssd_row(const Batched<float>& m, Index replica, Index row) {
  return m.data + replica * m.replica_stride + row * m.stride;
}

/// The block's state before a chunk after the first, [N, kSsdChannels], among those kept for the
/// way back: launch after launch, then block after block.
template <int N>
__device__ float* ssd_kept_state(const Batched<float>& kept, const SsdSize& s, const SsdPlace& at,
                                 const SsdStates& states, Index chunk) {
  const Index later = ssd_chunks(s) - 1, blocks = s.examples * s.heads * at.parts;
  const Index block = (at.example * s.heads + at.head) * at.parts + at.part;
  return kept.data + at.replica * kept.replica_stride +
         (states.first * blocks * later + (block * later + chunk - 1) * N) * kSsdChannels;
}

/// d of channel p of the block.
__device__ inline float ssd_skip(const SsdSize& s, const Batched<float>& d, const SsdPlace& at,
                                 int p) {
  return ssd_row(d, at.replica, 0)[s.skips == s.heads ? at.head : at.channel + p];
}

/// Tokens of the chunk that begins at t.
__device__ inline int ssd_rows(const SsdSize& s, Index t) {
  const Index left = s.length - t;
  return static_cast<int>(left < kSsdChunk ? left : Index{kSsdChunk});
}

/// Numbers on their way to shared memory: to[i][j] = from[i stride + j] for i < kRows, zeros from
/// row `rows` and column `cols` on. Ends when the thread waits for its copies.
template <int kRows, int kWidth>
__device__ inline void ssd_copy_async(const float* from, Index stride, int rows, int cols,
                                      bool quads, float* to) {
  constexpr int kTo = kWidth + kSsdPad, kAcross = kWidth / 4, kDown = kSsdThreads / kAcross;
  const int thread = static_cast<int>(threadIdx.x);
  if (quads && rows >= kRows) {
    const int j = thread % kAcross * 4, first = thread / kAcross;
    const float* source = from + first * stride + j;
    float* const place = to + first * kTo + j;
    if (j < cols) {
#pragma unroll
      for (int i = 0; i < kRows; i += kDown) {
        copy_async<16>(place + i * kTo, source);
        source += kDown * stride;
      }
    } else {
#pragma unroll
      for (int i = 0; i < kRows; i += kDown)
        *reinterpret_cast<float4*>(place + i * kTo) = make_float4(0, 0, 0, 0);
    }
  } else {
#pragma unroll 1
    for (int e = thread; e < kRows * kWidth; e += kSsdThreads) {
      const int i = e / kWidth, j = e % kWidth;
      if (i < rows && j < cols)
        copy_async<4>(to + i * kTo + j, from + i * stride + j);
      else
        to[i * kTo + j] = 0;
    }
  }
}

/// Rounds the numbers that the thread copied by ssd_copy_async, of the same arguments, once they
/// are there.
template <int kRows, int kWidth>
__device__ inline void ssd_round_copied(int rows, bool quads, float* to) {
  constexpr int kTo = kWidth + kSsdPad, kAcross = kWidth / 4, kDown = kSsdThreads / kAcross;
  const int thread = static_cast<int>(threadIdx.x);
  const auto round = [](float x) { return __uint_as_float(tf32_bits(x)); };
  if (quads && rows >= kRows) {
    float* const place = to + thread / kAcross * kTo + thread % kAcross * 4;
#pragma unroll
    for (int i = 0; i < kRows; i += kDown) {
      float4& four = *reinterpret_cast<float4*>(place + i * kTo);
      four = make_float4(round(four.x), round(four.y), round(four.z), round(four.w));
    }
  } else {
#pragma unroll 1
    for (int e = thread; e < kRows * kWidth; e += kSsdThreads) {
      float& one = to[e / kWidth * kTo + e % kWidth];
      one = round(one);
    }
  }
}

/// Tokens from t on, of b or c.
template <int N>
__device__ void ssd_copy_states(const Batched<float>& from, const SsdSize& s, const SsdPlace& at,
                                const SsdStates& states, Index t, bool quads, SsdStateRows<N>& to) {
  ssd_copy_async<kSsdChunk, N>(
      ssd_row(from, at.replica, at.row + t) + at.group * s.states + states.first, from.stride,
      ssd_rows(s, t), states.width, quads, &to[0][0]);
}

/// Tokens from t on, of x or the gradient of y.
__device__ inline void ssd_copy_tokens(const Batched<float>& from, const SsdSize& s,
                                       const SsdPlace& at, Index t, bool quads, SsdTokens& to) {
  ssd_copy_async<kSsdChunk, kSsdChannels>(ssd_row(from, at.replica, at.row + t) + at.channel,
                                          from.stride, ssd_rows(s, t), at.channels, quads,
                                          &to[0][0]);
}

/// Asks for the lines of a chunk's rows from t on, `width` numbers each, into the L2 cache.
__device__ inline void ssd_prefetch(const Batched<float>& from, const SsdSize& s,
                                    const SsdPlace& at, Index t, Index column, int width) {
  constexpr int kLine = 32, kLines = kSsdChannels / kLine;  // numbers of one, lines of a row
  static_assert(kSsdThreads == kSsdChunk * kLines && kSsdMostStates <= kSsdChannels);
  const int row = static_cast<int>(threadIdx.x) / kLines;
  const int first = static_cast<int>(threadIdx.x) % kLines * kLine;
  if (row < ssd_rows(s, t) && first < width)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(ssd_row(from, at.replica, at.row + t + row) +
                                                  column + first));
}

/// A decay of this logarithm to base 2; below 1e-30 it is 0, and a NaN stays.
__device__ inline float ssd_power(float logarithm) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(logarithm));
  return logarithm < -99.65784f ? 0.0f : power;
}

/// log2 of the decay exp(-rate Δ).
__device__ inline float ssd_log_decay(float rate, float delta) {
  return -rate * delta * 1.44269504f;
}

/// The step sizes of a chunk; tokens beyond the sequence have none and do not decay. Decays between
/// two tokens are differences of logarithms, whose sums are kept as two numbers each: large decays
/// of earlier tokens leave the later ones exact.
struct SsdSteps {
  float delta[kSsdChunk];                 // step sizes after softplus
  float high[kSsdChunk], low[kSsdChunk];  // log2 a_0 ... a_t
  float since_start[kSsdChunk];           // a_0 ... a_t
  float entering[kSsdChunk];              // Δ_t a_{t+1} ... a_end
  float leaving[kSsdChunk];               // a_{t+1} ... to the last of t's 16 tokens

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
      const float logarithm = ssd_log_decay(rate, step[k]);
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
    const double block = __shfl_sync(0xffffffffu, total, lane | 7);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int i = 2 * lane + k;
      delta[i] = step[k];
      high[i] = static_cast<float>(sum[k]);
      low[i] = static_cast<float>(sum[k] - high[i]);
      since_start[i] = ssd_power(high[i]);
      entering[i] = ssd_power(static_cast<float>(all - sum[k])) * step[k];
      leaving[i] = ssd_power(static_cast<float>(block - sum[k]));
    }
  }
  __device__ float over_chunk() const {
    return since_start[kSsdChunk - 1];
  }
  /// a_{s+1} ... a_t, s <= t.
  __device__ float between(int s, int t) const {
    return ssd_power(high[t] - high[s] + (low[t] - low[s]));
  }
  /// a_{t+1} ... a_end.
  __device__ float to_end(int t) const {
    return between(t, kSsdChunk - 1);
  }
};

/// A warp's tokens of y, or of the gradient of x, from row `own` of a chunk of which `rows` lie in
/// the sequence: sums + d ⊙ from, or += that, or += the sums alone where d is not to count.
struct SsdOutput {
  Batched<float> to;
  bool add, pairs;  ///< pairs: whole rows of them
  bool skip;

  __device__ void store(const SsdSize& s, const SsdPlace& at, const Batched<float>& d, Index t,
                        int own, const float (&sums)[kSsdChannels / 8][4],
                        const SsdTokens& from) const {
    const int row = own + lane_row(), column = 2 * lane_column();
    const Index left = s.length - t;
    float* const rows[2] = {ssd_row(to, at.replica, at.row + t + row) + at.channel + column,
                            ssd_row(to, at.replica, at.row + t + row + 8) + at.channel + column};
    const bool by_head = s.skips == s.heads;
    const float* const ds = ssd_row(d, at.replica, 0) + (by_head ? at.head : at.channel + column);
    const float of_head = skip && by_head ? ds[0] : 0.0f;
    if (pairs && !add && left >= kSsdChunk && at.channels == kSsdChannels) {
#pragma unroll
      for (int n = 0; n < kSsdChannels / 8; ++n) {
        float2 own_d = make_float2(of_head, of_head);
        if (skip && !by_head) own_d = make_float2(ds[8 * n], ds[8 * n + 1]);
#pragma unroll
        for (int e = 0; e < 4; e += 2)
          *reinterpret_cast<float2*>(rows[e / 2] + 8 * n) =
              value(own_d, &from[row + 4 * e][column + 8 * n], sums[n][e], sums[n][e + 1]);
      }
      return;
    }
#pragma unroll 1
    for (int r = 0; r < 2; ++r) {
      if (row + 8 * r >= left) continue;
      float* const places = r == 0 ? rows[0] : rows[1];
#pragma unroll
      for (int n = 0; n < kSsdChannels / 8; ++n) {
        const bool first = column + 8 * n < at.channels, second = column + 8 * n + 1 < at.channels;
        float2 own_d = make_float2(of_head, of_head);
        if (skip && !by_head)
          own_d = make_float2(first ? ds[8 * n] : 0.0f, second ? ds[8 * n + 1] : 0.0f);
        const float2 v = value(own_d, &from[row + 8 * r][column + 8 * n],
                               r == 0 ? sums[n][0] : sums[n][2], r == 0 ? sums[n][1] : sums[n][3]);
        float* const place = places + 8 * n;
        if (first) place[0] = add ? place[0] + v.x : v.x;
        if (second) place[1] = add ? place[1] + v.y : v.y;
      }
    }
  }

  static __device__ float2 value(float2 d, const float* from, float first, float second) {
    const float2 x = *reinterpret_cast<const float2*>(from);
    return make_float2(first + d.x * x.x, second + d.y * x.y);
  }
};

}  // namespace recallbench
