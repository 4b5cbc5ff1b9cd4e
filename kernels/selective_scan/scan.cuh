#pragma once

#include <type_traits>

#include "kernels/selective_scan/selective_scan_cpu.h"

// What both directions of selective_scan share on a GPU. A block of 128 threads is one example and
// 32 channels; four neighbouring lanes share a channel's states, P each, in registers. It walks the
// sequence in chunks of 32 tokens that lie in shared memory.

namespace recallbench {

inline constexpr int kScanChunk = 32;
inline constexpr int kScanChannels = 32;
inline constexpr int kScanGroups = 4;  // lanes of a channel
inline constexpr int kScanThreads = kScanChannels * kScanGroups;
inline constexpr int kScanMostStates = 32;  // of one launch: 8 a lane

using ScanRows = float[kScanChunk][kScanChannels];

/// States [first, first + width) of all N, in one launch.
struct ScanStates {
  Index first;
  int width;
};

inline ScanStates scan_states(const ScanSize& s, Index first) {
  const Index left = s.states - first;
  return {first, static_cast<int>(left < kScanMostStates ? left : Index{kScanMostStates})};
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

/// A thread's place.
struct ScanPlace {
  Index replica, example, block, row, channel;  // row: the example's first
  int group, lane_channel;                      // of the block's channels
  bool used;

  __device__ explicit ScanPlace(const ScanSize& s) {
    const Index blocks = (s.channels + kScanChannels - 1) / kScanChannels;
    block = blockIdx.x % blocks;
    example = blockIdx.x / blocks % s.examples;
    replica = blockIdx.x / blocks / s.examples;
    row = example * s.length;
    group = threadIdx.x % kScanGroups;
    lane_channel = threadIdx.x / kScanGroups;
    channel = block * kScanChannels + lane_channel;
    used = channel < s.channels;
  }
};

__device__ inline const float* scan_row(const Batched<float>& m, Index replica, Index row) {
  return m.data + replica * m.replica_stride + row * m.stride;
}

/// softplus and its derivative.
__device__ inline float scan_softplus(float x) {
  return x > 20 ? x : log1pf(__expf(x));
}
__device__ inline float scan_slope(float x) {
  return x > 20 ? 1.0f : 1.0f / (1.0f + __expf(-x));
}

/// 2^x, x <= 0; exact at 0, results below the normal numbers are 0.
__device__ inline float scan_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// A log2(e) of the thread's P states, 0 beyond the last: exp(Δ A) = 2^(Δ a2).
template <int P>
__device__ void scan_load_a2(const Batched<float>& a_log, const ScanPlace& at,
                             const ScanStates& states, float (&a2)[P]) {
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int n = at.group * P + p;
    a2[p] = at.used && n < states.width
                ? -expf(scan_row(a_log, at.replica, at.channel)[states.first + n]) * 1.44269504089f
                : 0.0f;
  }
}

/// Tokens [t, t + kScanChunk) of the block's channels, zeros beyond the sequence; all threads take
/// part, each channel threadIdx.x % kScanChannels.
template <class Use>
__device__ void scan_for_chunk(const ScanSize& s, const ScanPlace& at, Index t, const Use& use) {
  const int c = threadIdx.x % kScanChannels;
  const Index channel = at.block * kScanChannels + c;
  constexpr int kRows = kScanThreads / kScanChannels;
#pragma unroll
  for (int k = 0; k < kScanChunk / kRows; ++k) {
    const int i = threadIdx.x / kScanChannels + k * kRows;
    use(i, c, channel, t + i < s.length && channel < s.channels);
  }
}

/// b or c of a chunk: [kScanChunk][4 P], zeros beyond the sequence and beyond the last state.
template <int P>
__device__ void scan_load_states(const Batched<float>& from, const ScanSize& s, const ScanPlace& at,
                                 const ScanStates& states, Index t, float (*to)[kScanGroups * P]) {
  constexpr int kWidth = kScanGroups * P;
  const float* data = scan_row(from, at.replica, at.row + t) + states.first;
  for (int e = threadIdx.x; e < kScanChunk * kWidth; e += kScanThreads) {
    const int i = e / kWidth, n = e % kWidth;
    to[i][n] = t + i < s.length && n < states.width ? data[i * from.stride + n] : 0.0f;
  }
}

/// Lane q of four neighbours gets Σ over them of value q.
__device__ inline float scan_sum_of_four(int q, float v0, float v1, float v2, float v3) {
  const bool high = q & 2, odd = q & 1;
  const float even = (high ? v2 : v0) + __shfl_xor_sync(0xffffffffu, high ? v0 : v2, 2);
  const float next = (high ? v3 : v1) + __shfl_xor_sync(0xffffffffu, high ? v1 : v3, 2);
  return (odd ? next : even) + __shfl_xor_sync(0xffffffffu, odd ? even : next, 1);
}

}  // namespace recallbench
