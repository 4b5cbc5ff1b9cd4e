#pragma once

#include <type_traits>

#include "kernels/cuda/elements.cuh"
#include "kernels/ssd/ssd_cpu.h"

// What both directions of ssd share on a GPU. A block is one example, one head and up to 64 of its
// channels; it walks the sequence in chunks of 32 tokens that lie in shared memory, with the state
// of up to 64 of the N numbers. All is linear in what a state's rows contribute, so more of them
// are further launches that add. Products: thread (tx, ty) has rows ty · kRows + i and columns
// tx + kAcross · j. The left factor is read four numbers at a time, the same for a whole warp; with
// rows of shared memory 4 numbers further apart than they are long, eight lanes that read four
// numbers each of a row of their own meet in no bank.

namespace recallbench {

inline constexpr int kSsdChunk = 32;
inline constexpr int kSsdChannels = 64;
inline constexpr int kSsdThreads = 256;
inline constexpr int kSsdMostStates = 64;
inline constexpr int kSsdPad = 4;  // numbers between rows in shared memory

/// States [first, first + width) of all N, in one launch.
struct SsdStates {
  Index first;
  int width;
};

inline SsdStates ssd_states(const SsdSize& s, Index first) {
  const Index left = s.states - first;
  return {first, static_cast<int>(left < kSsdMostStates ? left : Index{kSsdMostStates})};
}

/// launch(N) with N, a constant, the states that a block keeps.
template <class Launch>
void ssd_dispatch(int width, const Launch& launch) {
  if (width <= 16)
    launch(std::integral_constant<int, 16>{});
  else if (width <= 32)
    launch(std::integral_constant<int, 32>{});
  else
    launch(std::integral_constant<int, 64>{});
}

inline Index ssd_parts(const SsdSize& s) {  // of a head's channels
  return (s.head_dim + kSsdChannels - 1) / kSsdChannels;
}
__host__ __device__ inline Index ssd_chunks(const SsdSize& s) {
  return (s.length + kSsdChunk - 1) / kSsdChunk;
}

using SsdTokens = float[kSsdChunk][kSsdChannels + kSsdPad];
using SsdSquare = float[kSsdChunk][kSsdChunk + kSsdPad];
template <int N>
using SsdStateRows = float[kSsdChunk][N + kSsdPad];
template <int N>
using SsdState = float[N][kSsdChannels + kSsdPad];

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

/// Tokens [t, t + kSsdChunk) of columns [column, column + count): zeros beyond the sequence and
/// beyond the columns up to `width`.
__device__ inline void ssd_load(const Batched<float>& from, const SsdSize& s, const SsdPlace& at,
                                Index t, Index column, int count, int width, float* to,
                                int stride) {
  const float* data = ssd_row(from, at.replica, at.row + t) + column;
  for (int e = threadIdx.x; e < kSsdChunk * width; e += kSsdThreads) {
    const int i = e / width, j = e % width;
    to[i * stride + j] = t + i < s.length && j < count ? data[i * from.stride + j] : 0.0f;
  }
}

template <int N>
__device__ void ssd_load_states(const Batched<float>& from, const SsdSize& s, const SsdPlace& at,
                                const SsdStates& states, Index t, SsdStateRows<N>& to) {
  ssd_load(from, s, at, t, at.group * s.states + states.first, states.width, N, &to[0][0],
           N + kSsdPad);
}

__device__ inline void ssd_load_tokens(const Batched<float>& from, const SsdSize& s,
                                       const SsdPlace& at, Index t, SsdTokens& to) {
  ssd_load(from, s, at, t, at.channel, at.channels, kSsdChannels, &to[0][0],
           kSsdChannels + kSsdPad);
}

__device__ inline float ssd_above_nothing(float decay) {
  return decay < 1e-30f ? 0.0f : decay;  // a NaN stays
}

/// The step sizes of a chunk; tokens beyond the sequence have none and do not decay.
struct SsdSteps {
  float before[kSsdChunk], delta[kSsdChunk];  // step sizes before and after softplus
  float a[kSsdChunk];                         // the decay of one token
  float since_start[kSsdChunk];               // a_0 ... a_t
  float to_end[kSsdChunk];                    // a_{t+1} ... a_end
  float entering[kSsdChunk];                  // Δ_t a_{t+1} ... a_end

  /// By the first warp; the others see it after a barrier.
  __device__ void load(const SsdSize& s, const SsdViews<float>& in, const SsdPlace& at, Index t,
                       float rate) {
    if (threadIdx.x >= kSsdChunk) return;
    const int i = threadIdx.x;
    float x = 0, step = 0;
    if (t + i < s.length) {
      x = ssd_row(in.dt, at.replica, at.row + t + i)[at.head] +
          ssd_row(in.dt_bias, at.replica, 0)[at.head];
      step = x > 20.0f ? x : log1pf(expf(x));
    }
    before[i] = x;
    delta[i] = step;
    a[i] = expf(-rate * step);
    __syncwarp();
    float since = 1, until = 1;
    for (int r = 0; r < kSsdChunk; ++r) {
      if (r <= i) since = ssd_above_nothing(since * a[r]);
      if (kSsdChunk - 1 - r > i) until = ssd_above_nothing(until * a[kSsdChunk - 1 - r]);
    }
    since_start[i] = since;
    to_end[i] = until;
    entering[i] = until * step;
  }
  __device__ float over_chunk() const { return since_start[kSsdChunk - 1]; }
};

/// Where a thread's numbers of a product of M rows and N columns lie.
template <int M, int N>
struct SsdTile {
  static constexpr int kAcross = N < 32 ? N : 32, kColumns = N / kAcross;
  static constexpr int kDown = kSsdThreads / kAcross, kRows = M / kDown;
  static_assert(kAcross * kColumns == N && kDown * kRows == M && kRows > 0);

  static __device__ int row(int i) { return static_cast<int>(threadIdx.x) / kAcross * kRows + i; }
  static __device__ int column(int j) {
    return static_cast<int>(threadIdx.x) % kAcross + j * kAcross;
  }
  /// sum[i][j] += Σ_k a(row(i), k) b(k, column(j)) [f_k] for first <= k < last, multiples of 4. a
  /// lies as a[row][k], or as a[k][row]; b as b[k][column], or as b[column][k].
  template <bool kRowsOfA, bool kRowsOfB>
  static __device__ void add(int first, int last, const float* a, int a_stride, const float* b,
                             int b_stride, float (&sum)[kRows][kColumns],
                             const float* factors = nullptr) {
#pragma unroll 2
    for (int k = first; k < last; k += 4) {
      float left[4][kRows], right[4][kColumns];
      load_left<kRowsOfA>(k, a, a_stride, left);
      load_right<kRowsOfB>(k, b, b_stride, right);
      if (factors != nullptr) {
        float f[4];
        load_numbers(factors + k, f);
#pragma unroll
        for (int q = 0; q < 4; ++q)
#pragma unroll
          for (int j = 0; j < kColumns; ++j)
            right[q][j] *= f[q];
      }
#pragma unroll
      for (int q = 0; q < 4; ++q)
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < kColumns; ++j)
            sum[i][j] += left[q][i] * right[q][j];
    }
  }
  template <class Body>
  static __device__ void for_each(const Body& body) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kColumns; ++j)
        body(i, j, row(i), column(j));
  }

 private:
  template <bool kByRows>
  static __device__ void load_left(int k, const float* a, int stride, float (&left)[4][kRows]) {
    if constexpr (kByRows) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        float four[4];
        load_numbers(a + row(i) * stride + k, four);
#pragma unroll
        for (int q = 0; q < 4; ++q)
          left[q][i] = four[q];
      }
    } else {
      constexpr int kVec = kRows < 4 ? kRows : 4;
#pragma unroll
      for (int q = 0; q < 4; ++q)
#pragma unroll
        for (int i = 0; i < kRows; i += kVec) {
          float some[kVec];
          load_numbers(a + (k + q) * stride + row(i), some);
#pragma unroll
          for (int v = 0; v < kVec; ++v)
            left[q][i + v] = some[v];
        }
    }
  }
  template <bool kByRows>
  static __device__ void load_right(int k, const float* b, int stride,
                                    float (&right)[4][kColumns]) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      if constexpr (kByRows) {
#pragma unroll
        for (int q = 0; q < 4; ++q)
          right[q][j] = b[(k + q) * stride + column(j)];
      } else {
        float four[4];
        load_numbers(b + column(j) * stride + k, four);
#pragma unroll
        for (int q = 0; q < 4; ++q)
          right[q][j] = four[q];
      }
    }
  }
};

/// SsdTile::add with the strides of arrays.
template <class Tile, bool kRowsOfA, bool kRowsOfB, int M, int S, int K, int U>
__device__ void ssd_add(int first, int last, const float (&a)[M][S], const float (&b)[K][U],
                        float (&sum)[Tile::kRows][Tile::kColumns], const float* factors = nullptr) {
  Tile::template add<kRowsOfA, kRowsOfB>(first, last, &a[0][0], S, &b[0][0], U, sum, factors);
}

using SsdPairs = SsdTile<kSsdChunk, kSsdChunk>;

/// The thread's decays a_{s+1} ... a_t of the pairs (t, s), s <= t; 0 for the others.
__device__ inline void ssd_decays(const SsdSteps& steps, float (&decay)[SsdPairs::kRows]) {
  const int s = SsdPairs::column(0);
  float product = 1;
  for (int r = 0; r < SsdPairs::row(0); ++r)
    if (r > s) product = ssd_above_nothing(product * steps.a[r]);
#pragma unroll
  for (int i = 0; i < SsdPairs::kRows; ++i) {
    const int t = SsdPairs::row(i);
    if (t > s) product = ssd_above_nothing(product * steps.a[t]);
    decay[i] = t >= s ? product : 0.0f;
  }
}

/// The thread's numbers of the state after a chunk, from those before it.
template <int N>
__device__ void ssd_advance(
    const SsdSteps& steps, const SsdStateRows<N>& b, const SsdTokens& x,
    float (&state)[SsdTile<N, kSsdChannels>::kRows][SsdTile<N, kSsdChannels>::kColumns]) {
  using Tile = SsdTile<N, kSsdChannels>;
  const float over = steps.over_chunk();
  Tile::for_each([&](int i, int j, int, int) { state[i][j] *= over; });
  ssd_add<Tile, false, true>(0, kSsdChunk, b, x, state, steps.entering);
}

}  // namespace recallbench
