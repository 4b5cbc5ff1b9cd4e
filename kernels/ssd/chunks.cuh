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
/// A warp's sums for 16 tokens, channels as rows: element e of fragment (m, n) is at channel
/// 16 m + 2 g + e / 2 and token 8 n + 2 t + e % 2, with g = lane / 4 and t = lane % 4.
using SsdSums = float[kSsdChannels / 16][2][4];

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
    const unsigned count = static_cast<unsigned>(parts), heads = static_cast<unsigned>(s.heads),
                   examples = static_cast<unsigned>(s.examples), of_head = blockIdx.x / count;
    part = blockIdx.x % count;
    head = of_head % heads;
    example = of_head / heads % examples;
    replica = of_head / heads / examples;
    group = of_head % heads / (heads / static_cast<unsigned>(s.groups));
    row = example * s.length;
    channel = head * s.head_dim + part * kSsdChannels;
    const Index left = s.head_dim - part * kSsdChannels;
    channels = static_cast<int>(left < kSsdChannels ? left : Index{kSsdChannels});
    const Index of_replica = (example * s.heads + head) * parts + part;
    turn = static_cast<int>((of_replica + of_replica / 128) % kSsdWarps);
  }
  /// Which 16 tokens of chunk k a warp has: the same in every replica, since they order sums.
  __device__ int tokens_of(int warp, int k) const { return (warp + turn + k) % kSsdWarps; }
  __device__ Index head_part() const { return head * parts + part; }
};

__device__ inline float* ssd_row(const Batched<float>& m, Index replica, Index row) {
  return m.data + replica * m.replica_stride + row * m.stride;
}

/// A block's columns of a tensor. They lie in shared memory: the way to a token is then one load
/// and a product of 32 bits, where a compiler would rather go all the way from a tensor's beginning
/// each time than keep registers.
struct alignas(16) SsdColumns {
  float* first;
  int stride;

  __device__ float* token(int t) const {
    float* const there = first + static_cast<Index>(t) * stride;
    __builtin_assume(__isGlobal(there));
    return there;
  }
};

__device__ inline SsdColumns ssd_columns(const Batched<float>& m, const SsdPlace& at,
                                         Index column) {
  return {ssd_row(m, at.replica, at.row) + column, static_cast<int>(m.stride)};
}

/// What both directions read of the inputs.
struct SsdSources {
  SsdColumns x, b, c, dt;
  float bias, rate;  // of the head: -ln a = rate Δ

  __device__ void place(const SsdViews<float>& in, const SsdPlace& at, Index state) {
    x = ssd_columns(in.x, at, at.channel);
    b = ssd_columns(in.b, at, state);
    c = ssd_columns(in.c, at, state);
    dt = ssd_columns(in.dt, at, at.head);
  }
  /// By a whole warp, which then sees bias and rate; the others see them after a barrier.
  __device__ void load(const SsdViews<float>& in, const SsdPlace& at) {
    if (threadIdx.x % 32 == 0) {
      bias = ssd_row(in.dt_bias, at.replica, 0)[at.head];
      rate = expf(ssd_row(in.a_log, at.replica, 0)[at.head]);
    }
    __syncwarp();
  }
};

/// The block's states before chunks after the first, each [N, kSsdChannels], among those kept for
/// the way back: launch after launch, then block after block.
template <int N>
__device__ float* ssd_kept_states(const Batched<float>& kept, const SsdSize& s, const SsdPlace& at,
                                  const SsdStates& states) {
  const Index later = ssd_chunks(s) - 1, blocks = s.examples * s.heads * at.parts;
  const Index block = (at.example * s.heads + at.head) * at.parts + at.part;
  return kept.data + at.replica * kept.replica_stride +
         (states.first * blocks + block * N) * later * kSsdChannels;
}
/// That before chunk k.
template <int N>
__device__ inline float* ssd_kept_state(float* states, int k) {
  float* const state = states + static_cast<Index>(k - 1) * (N * kSsdChannels);
  __builtin_assume(__isGlobal(state));
  return state;
}

/// d of the block's channels, where it counts, else zeros: by the first threads, the others see it
/// after a barrier.
__device__ inline void ssd_load_skips(const SsdSize& s, const Batched<float>& d, const SsdPlace& at,
                                      bool count, float (&skips)[kSsdChannels]) {
  const int p = static_cast<int>(threadIdx.x);
  if (p >= kSsdChannels) return;
  const float* const ds = ssd_row(d, at.replica, 0);
  skips[p] = count && p < at.channels ? ds[s.skips == s.heads ? at.head : at.channel + p] : 0.0f;
}

/// Tokens of the chunk that begins at t.
__device__ inline int ssd_rows(const SsdSize& s, int t) {
  return min(static_cast<int>(s.length) - t, kSsdChunk);
}

/// Numbers on their way to shared memory: to[i][j] = from[i stride + j] for i < kRows, zeros from
/// row `rows` and column `cols` on. Ends when the thread waits for its copies.
template <int kRows, int kWidth>
__device__ inline void ssd_copy_async(const float* from, int stride, int rows, int cols, bool quads,
                                      float* to) {
  constexpr int kTo = kWidth + kSsdPad, kAcross = kWidth / 4, kDown = kSsdThreads / kAcross;
  const int thread = static_cast<int>(threadIdx.x);
  if (quads && rows >= kRows) {
    const int j = thread % kAcross * 4, first = thread / kAcross;
    const float* source = from + static_cast<Index>(first) * stride + j;
    float* const place = to + first * kTo + j;
#pragma unroll
    for (int i = 0; i < kRows; i += kDown) {
      copy_async_or_zero<16>(place + i * kTo, source, j < cols);
      source += static_cast<Index>(kDown) * stride;
    }
  } else {
#pragma unroll 1
    for (int e = thread; e < kRows * kWidth; e += kSsdThreads) {
      const int i = e / kWidth, j = e % kWidth;
      if (i < rows && j < cols)
        copy_async<4>(to + i * kTo + j, from + static_cast<Index>(i) * stride + j);
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
__device__ void ssd_copy_states(const SsdColumns& from, const SsdSize& s, const SsdStates& states,
                                int t, bool quads, SsdStateRows<N>& to) {
  ssd_copy_async<kSsdChunk, N>(from.token(t), from.stride, ssd_rows(s, t), states.width, quads,
                               &to[0][0]);
}

/// Tokens from t on, of x or the gradient of y.
__device__ inline void ssd_copy_tokens(const SsdColumns& from, const SsdSize& s, const SsdPlace& at,
                                       int t, bool quads, SsdTokens& to) {
  ssd_copy_async<kSsdChunk, kSsdChannels>(from.token(t), from.stride, ssd_rows(s, t), at.channels,
                                          quads, &to[0][0]);
}

/// Asks for the lines of row t of x or the gradient of y to be in the L2 cache.
__device__ inline void ssd_prefetch_token(const SsdColumns& from, int channels, int t) {
  const float* const row = from.token(t);
#pragma unroll
  for (int p = 0; p < kSsdChannels; p += 32)  // numbers of a line
    if (p < channels) copy_to_l2(row + p);
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
  float leaving_delta[kSsdChunk];         // that times Δ_t
  float arriving[kSsdChunk];              // from the first of t's 16 tokens ... a_t

  /// By a whole warp; the others see it after a barrier.
  __device__ void load(const SsdSize& s, const SsdSources& from, int t) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float step[2];
    double sum[2];
    const int inside = static_cast<int>(s.length) - t - 2 * lane;  // how many of the lane's two
#pragma unroll
    for (int k = 0; k < 2; ++k)  // both on their way before one is used
      step[k] = k < inside ? *from.dt.token(t + 2 * lane + k) + from.bias : 0.0f;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const float x = step[k];
      step[k] = k >= inside ? 0.0f : x > 20.0f ? x : log1pf(expf(x));
      const float logarithm = ssd_log_decay(from.rate, step[k]);
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
    double earlier = __shfl_sync(0xffffffffu, total, (lane & 24) - 1);
    if (lane < 8) earlier = 0;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int i = 2 * lane + k;
      delta[i] = step[k];
      high[i] = static_cast<float>(sum[k]);
      low[i] = static_cast<float>(sum[k] - high[i]);
      since_start[i] = ssd_power(high[i]);
      entering[i] = ssd_power(static_cast<float>(all - sum[k])) * step[k];
      leaving[i] = ssd_power(static_cast<float>(block - sum[k]));
      leaving_delta[i] = leaving[i] * step[k];
      arriving[i] = ssd_power(static_cast<float>(sum[k] - earlier));
    }
  }
  __device__ float over_chunk() const {
    return since_start[kSsdChunk - 1];
  }
  /// Over the 16 tokens from `first` on.
  __device__ float over_block(int first) const {
    return arriving[first + 15];
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

/// A warp's tokens of y, or of the gradient of x, from row `own` of the chunk at t on: sums + d ⊙
/// from, or += that.
struct SsdOutput {
  const SsdColumns& to;
  bool add, pairs;  ///< pairs: whole rows of them

  __device__ void store(const SsdSize& s, const SsdPlace& at, int t, int own, const SsdSums& sums,
                        const float (&skips)[kSsdChannels], const SsdTokens& from) const {
    const int row = own + 2 * lane_column(), column = 2 * lane_row();
    const int left = static_cast<int>(s.length) - t;
    float* const first = to.token(t + row) + column;
    const auto value = [&](int m, int n, int e) {
      const float2 d = *reinterpret_cast<const float2*>(&skips[16 * m + column]);
      const float2 x = *reinterpret_cast<const float2*>(&from[row + 8 * n + e][16 * m + column]);
      return make_float2(sums[m][n][e] + d.x * x.x, sums[m][n][e + 2] + d.y * x.y);
    };
    const auto rows = [&](const auto& row_to) {
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          row_to(n, e, first + static_cast<Index>(8 * n + e) * to.stride);
    };
    if (pairs && !add && left >= kSsdChunk && at.channels == kSsdChannels)
      return rows([&](int n, int e, float* places) {
#pragma unroll
        for (int m = 0; m < kSsdChannels / 16; ++m)
          *reinterpret_cast<float2*>(places + 16 * m) = value(m, n, e);
      });
    rows([&](int n, int e, float* places) {
      if (row + 8 * n + e >= left) return;
#pragma unroll
      for (int m = 0; m < kSsdChannels / 16; ++m) {
        const float2 v = value(m, n, e);
        float* const place = places + 16 * m;
        const int p = 16 * m + column;
        if (p < at.channels) place[0] = add ? place[0] + v.x : v.x;
        if (p + 1 < at.channels) place[1] = add ? place[1] + v.y : v.y;
      }
    });
  }
};

}  // namespace recallbench
