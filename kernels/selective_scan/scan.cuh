#pragma once

#include <type_traits>

#include "kernels/cuda/runtime.h"
#include "kernels/selective_scan/selective_scan_cpu.h"

// What both directions of selective_scan share on a GPU. A block is one example and 64 channels,
// walked in chunks of 32 tokens that lie in shared memory. A thread owns P states of each of K
// channels in registers; four neighbouring lanes (groups) share K channels' states, the eight
// places in a warp are 8 K channels. Register k of a lane is channel k ^ (group % K), so that a sum
// over the states keeps what is in the same register in every lane, and selects nothing.

namespace recallbench {

inline constexpr int kScanChunk = 32;
inline constexpr int kScanChannels = 64;
inline constexpr int kScanGroups = 4;        // lanes of a channel
inline constexpr int kScanMostStates = 32;   // of one launch: 8 a lane
inline constexpr unsigned kScanLanes = ~0u;  // all of a warp
inline constexpr float kLn2 = 0.69314718056f, kLog2e = 1.44269504089f;

/// The shape of a thread's part, by the states P of a lane.
template <int P>
struct ScanTile {
  static constexpr int kChannels = P <= 2 ? 4 : P <= 6 ? 2 : 1;  // K
  static constexpr int kValues = kChannels * P;
  static constexpr int kTokens = kScanGroups / kChannels;  // whose sums over states go together
  static constexpr int kWidth = kScanGroups * P;
  static constexpr int kWarpChannels = 32 / kScanGroups * kChannels;
  static constexpr int kWarps = kScanChannels / kWarpChannels;
  static constexpr int kThreads = 32 * kWarps;
};

/// States [first, first + width) of all N, in one launch.
struct ScanStates {
  Index first;
  int width;
};

inline ScanStates scan_states(const ScanSize& s, Index first) {
  const Index left = s.states - first;
  return {first, static_cast<int>(left < kScanMostStates ? left : Index{kScanMostStates})};
}

__host__ __device__ inline Index scan_blocks(const ScanSize& s) {
  return (s.channels + kScanChannels - 1) / kScanChannels;
}

/// launch(P) with P, a constant, the states of a lane.
template <class Launch>
void scan_dispatch(const ScanStates& states, const Launch& launch) {
  const int a_lane = (states.width + kScanGroups - 1) / kScanGroups;
  if (a_lane <= 1)
    launch(std::integral_constant<int, 1>{});
  else if (a_lane <= 2)
    launch(std::integral_constant<int, 2>{});
  else if (a_lane <= 4)
    launch(std::integral_constant<int, 4>{});
  else if (a_lane <= 6)
    launch(std::integral_constant<int, 6>{});
  else
    launch(std::integral_constant<int, 8>{});
}

__device__ inline float* scan_row(const Batched<float>& m, Index replica, Index row) {
  return m.data + replica * m.replica_stride + row * m.stride;
}

/// x, in a register: not computed again at each use, as compilers do to spare registers.
__device__ inline int scan_keep(int x) {
  asm("" : "+r"(x));
  return x;
}
/// The same of an address in global memory.
template <class T>
__device__ inline T* scan_keep(T* x) {
  auto address = __cvta_generic_to_global(x);
  asm("" : "+l"(address));
  return static_cast<T*>(__cvta_global_to_generic(address));
}

/// A thread's place. With `kSwapped`, lanes of the upper four places hold the halves of their
/// states in the other order.
template <int P, bool kSwapped = false>
struct ScanPlace {
  static constexpr int kChannels = ScanTile<P>::kChannels;

  Index replica, example, block, row;   // row: the example's first
  int group, place, column[kChannels];  // columns of the block: of register k

  __device__ explicit ScanPlace(const ScanSize& s) {
    const Index blocks = scan_blocks(s);
    block = blockIdx.x % blocks;
    example = blockIdx.x / blocks % s.examples;
    replica = blockIdx.x / blocks / s.examples;
    row = example * s.length;
    group = threadIdx.x % kScanGroups;
    place = threadIdx.x % 32 / kScanGroups;
    const int first = threadIdx.x / 32 * ScanTile<P>::kWarpChannels + place;
#pragma unroll
    for (int k = 0; k < kChannels; ++k)
      column[k] = scan_keep(first + 32 / kScanGroups * (k ^ (group % kChannels)));
  }

  /// Row i of the block's channels.
  __device__ float* channels(const Batched<float>& m, Index i) const {
    return scan_row(m, replica, i) + block * kScanChannels;
  }

  __device__ Index channel(int k) const {
    return block * kScanChannels + column[k];
  }
  __device__ bool swapped() const {
    return kSwapped && P % 2 == 0 && place >= 4;
  }
  /// The number of state p among the launch's.
  __device__ int state(int p) const {
    return group * P + (!swapped() ? p : p < P / 2 ? p + P / 2 : p - P / 2);
  }
  /// Of the sums over states, the lane gets that of column[0] and this one of kTokens tokens.
  __device__ int token() const {
    return group / kChannels;
  }
};

/// 2^x, x <= 0; exact at 0, results below the normal numbers are 0.
__device__ inline float scan_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// 1 / x to 1 ulp; 0 where that is no normal number.
__device__ inline float scan_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// softplus(x) = max(x, 0) + log(1 + y), y = e^-|x|, without branches; log(1 + y) = 2 artanh(z),
/// z = y / (2 + y) <= 1/3, by its series, cut below 2e-8 of it.
__device__ inline float scan_softplus(float x) {
  const float y = scan_exp2(-kLog2e * fabsf(x)), z = y * scan_reciprocal(2 + y), w = z * z;
  float sum = 2.0f / 13;
  sum = sum * w + 2.0f / 11;
  sum = sum * w + 2.0f / 9;
  sum = sum * w + 2.0f / 7;
  sum = sum * w + 2.0f / 5;
  sum = sum * w + 2.0f / 3;
  sum = sum * w + 2.0f;
  return fmaxf(x, 0.0f) + z * sum;
}

/// softplus'(x) / Δ = (1 - e^-Δ) / Δ of Δ = softplus(x).
__device__ inline float scan_slope(float delta) {
  float sum = -1.0f / 720;
  sum = sum * delta + 1.0f / 120;
  sum = sum * delta - 1.0f / 24;
  sum = sum * delta + 1.0f / 6;
  sum = sum * delta - 0.5f;
  sum = sum * delta + 1.0f;
  return delta < 0.25f ? sum : (1 - scan_exp2(-kLog2e * delta)) * scan_reciprocal(delta);
}

/// A log2(e) of the thread's states, 0 beyond the last: exp(Δ A) = 2^(Δ a2).
template <int P, class Place>
__device__ void scan_load_a2(const Batched<float>& a_log, const ScanSize& s, const Place& at,
                             const ScanStates& states, float (&a2)[ScanTile<P>::kValues]) {
#pragma unroll
  for (int k = 0; k < ScanTile<P>::kChannels; ++k)
#pragma unroll
    for (int p = 0; p < P; ++p)
      a2[k * P + p] =
          at.channel(k) < s.channels && at.state(p) < states.width
              ? -expf(scan_row(a_log, at.replica, at.channel(k))[states.first + at.state(p)]) *
                    kLog2e
              : 0.0f;
}

/// use(row, column, values) for tokens [t, t + kScanChunk) of the block's channels; values[m] is
/// from[m]'s number, 0 beyond the sequence and the last channel. A thread's columns are all
/// threadIdx.x % kScanChannels. Eight rows' loads are under way before the first is used.
template <int P, int M, class Place, class Use>
__device__ void scan_load_chunk(const Batched<float> (&from)[M], const ScanSize& s, const Place& at,
                                Index t, const Use& use) {
  constexpr int kStep = ScanTile<P>::kThreads / kScanChannels, kAtOnce = 8;
  const int column = threadIdx.x % kScanChannels;
  const bool exists = at.block * kScanChannels + column < s.channels;
  const int rows = exists ? static_cast<int>(min(s.length - t, Index{kScanChunk})) : 0;
  const float* data[M];
  unsigned stride[M];
#pragma unroll
  for (int m = 0; m < M; ++m) {
    data[m] = scan_keep(at.channels(from[m], at.row + t) + column);
    stride[m] = static_cast<unsigned>(from[m].stride);
  }
  for (int first = threadIdx.x / kScanChannels; first < kScanChunk; first += kAtOnce * kStep) {
    float values[kAtOnce][M];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
#pragma unroll
      for (int m = 0; m < M; ++m) {
        const int row = first + i * kStep;
        values[i][m] = row < rows ? data[m][row * stride[m]] : 0.0f;
      }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      use(first + i * kStep, column, values[i]);
  }
}

/// Asks for the chunk that begins at t, into the L2 cache.
template <int P, int M, class Place>
__device__ void scan_prefetch_chunk(const Batched<float> (&from)[M], const ScanSize& s,
                                    const Place& at, Index t) {
  constexpr int kLine = 32, kLines = kScanChannels / kLine;  // numbers, lines of a row
#pragma unroll 1
  for (int e = threadIdx.x; e < kScanChunk * kLines; e += ScanTile<P>::kThreads) {
    const int row = e / kLines, column = e % kLines * kLine;
    if (t + row >= s.length || at.block * kScanChannels + column >= s.channels) continue;
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const float* line = at.channels(from[m], at.row + t) + row * from[m].stride + column;
      asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
    }
  }
}

/// The thread's numbers of b or c of a chunk [kScanChunk][4 P], zeros beyond the sequence and
/// beyond the last state; a second copy has the halves of each lane's states exchanged.
template <int P>
struct ScanStatesLoad {
  static constexpr int kWidth = ScanTile<P>::kWidth, kThreads = ScanTile<P>::kThreads;
  static constexpr int kCount = kScanChunk * kWidth / kThreads;
  float values[kCount];

  template <class Place>
  __device__ ScanStatesLoad(const Batched<float>& from, const ScanSize& s, const Place& at,
                            const ScanStates& states, Index t) {
    const float* data = scan_keep(scan_row(from, at.replica, at.row + t) + states.first);
    const unsigned stride = static_cast<unsigned>(from.stride);
    const int rows = static_cast<int>(min(s.length - t, Index{kScanChunk}));
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const unsigned i = (threadIdx.x + e * kThreads) / kWidth,
                     n = (threadIdx.x + e * kThreads) % kWidth;
      values[e] = i < rows && n < states.width ? data[i * stride + n] : 0.0f;
    }
  }
  /// N rows follow each other for a token.
  template <int N>
  __device__ void store(float (*to)[N][kWidth]) const {
    static_assert(N <= 2);
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const int i = (threadIdx.x + e * kThreads) / kWidth,
                n = (threadIdx.x + e * kThreads) % kWidth;
      to[i][0][n] = values[e];
      if constexpr (N == 2) to[i][1][n % P < P / 2 ? n + P / 2 : n - P / 2] = values[e];
    }
  }
};

/// N numbers of shared memory, aligned to the largest power of two below 32 that divides 4 N.
template <int N>
__device__ inline void scan_read(const float* from, float (&to)[N]) {
  if constexpr (N % 4 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
      const float4 v = *reinterpret_cast<const float4*>(from + i);
      to[i] = v.x, to[i + 1] = v.y, to[i + 2] = v.z, to[i + 3] = v.w;
    }
  } else if constexpr (N % 2 == 0) {
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const float2 v = *reinterpret_cast<const float2*>(from + i);
      to[i] = v.x, to[i + 1] = v.y;
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i)
      to[i] = from[i];
  }
}

/// Σ over a channel's four lanes of v: each lane gets that of ScanPlace::token and column[0].
template <int T, int K>
__device__ inline float scan_sum_states(int group, const float (&v)[T][K]) {
  const bool high = group & 2, odd = group & 1;
  if constexpr (K == 4) {
    const float even = v[0][0] + __shfl_xor_sync(kScanLanes, v[0][2], 2);
    const float next = v[0][1] + __shfl_xor_sync(kScanLanes, v[0][3], 2);
    return even + __shfl_xor_sync(kScanLanes, next, 1);
  } else if constexpr (K == 2) {
    const float first = v[0][0] + __shfl_xor_sync(kScanLanes, v[0][1], 1);
    const float second = v[1][0] + __shfl_xor_sync(kScanLanes, v[1][1], 1);
    return (high ? second : first) + __shfl_xor_sync(kScanLanes, high ? first : second, 2);
  } else {
    const float even =
        (high ? v[2][0] : v[0][0]) + __shfl_xor_sync(kScanLanes, high ? v[0][0] : v[2][0], 2);
    const float next =
        (high ? v[3][0] : v[1][0]) + __shfl_xor_sync(kScanLanes, high ? v[1][0] : v[3][0], 2);
    return (odd ? next : even) + __shfl_xor_sync(kScanLanes, odd ? even : next, 1);
  }
}

}  // namespace recallbench
