#pragma once

#include <algorithm>

#include "kernels/delta_rule/chunk.cuh"

// Shared memory of a block of the backward kernel, and how it is filled.

namespace recallbench {

template <class Shape>
struct DeltaBackwardMemory : DeltaMemory<Shape> {
  static constexpr int kSystems = Shape::kCols / 8;  // warps that solve

  float* changes;         // P = dA ⊙ A + dN ⊙ N of i > j, at i (i - 1) / 2 + j
  float *dy, *dvalues;    // [32, kCols]; the latter begins as dU
  float* dstate;          // G [dk, kCols]
  float *states, *tiles;  // [warps]: shares of e^(Γ_C) <S, G>; [32]: dg of the tiles

  __device__ DeltaBackwardMemory(float* memory, const DeltaPlace<Shape>& at)
      : DeltaMemory<Shape>(memory, at) {
    this->first = this->overlaps + kDeltaHalf;  // above the diagonals of N and A nothing is read
    this->second = this->scores + kDeltaHalf;
    changes = this->take(kDeltaRows * kDeltaHalf);
    dy = this->take(kDeltaRows * this->kStride);
    dvalues = this->take(kDeltaRows * this->kStride);
    dstate = this->take(at.padded * this->kStride);
    states = this->take(Shape::kWarps);
    tiles = this->take(kDeltaRows);
    late_ = groups(at.padded) * kDeltaRows;
    shares_ = this->next;
  }
  /// Shares of <E, W> of a row by eight columns, until dβ is made of them;
  __device__ float& strength(int system, int i) const { return share(system * kDeltaRows + i); }
  /// then those of dg by keys: <q, dq> + <k, dk> through S, and <k, dk> through G.
  __device__ float& early(int group, int i) const { return share(group * kDeltaRows + i); }
  __device__ float& late(int group, int i) const { return share(late_ + group * kDeltaRows + i); }

  static int numbers(Index keys) {
    const int padded = delta_padded(keys), shares = std::max(kSystems, 2 * groups(padded));
    return DeltaMemory<Shape>::numbers(keys) + kDeltaRows * (kDeltaHalf + 2 * Shape::kStride + 1) +
           padded * Shape::kStride + Shape::kWarps + (kInPads ? 0 : kDeltaRows * shares);
  }

 private:
  // 128 keys and columns leave no room for these shares but behind the rows of S: 4 numbers each.
  static constexpr bool kInPads = Shape::kKeys * 4 >= kDeltaRows * kSystems && Shape::kCols == 128;

  static constexpr int groups(int padded) { return padded / (Shape::few_keys(padded) ? 8 : 16); }
  __device__ float& share(int i) const {
    return kInPads ? this->state[i / 4 * Shape::kStride + Shape::kCols + i % 4] : shares_[i];
  }

  int late_;
  float* shares_;
};

/// Starts to copy V and the state before the chunk from token `first`: zeros before the first.
template <class Shape>
__device__ inline void delta_copy_early(const DeltaRuleCuda& rule, const DeltaPlace<Shape>& at,
                                        const DeltaBackwardMemory<Shape>& m, int first) {
  delta_copy_values(rule, at, m.updates, rule.v, first);
  const float* kept = first == 0 ? nullptr : at.kept(rule, first / kDeltaRows - 1);
  const int rows = first == 0 ? 0 : at.keys;
  if constexpr (Shape::kKeys > 0)
    delta_copy_known<Shape::kThreads, Shape::kKeys, Shape::kCols>(m.state, kept, rule.values, rows,
                                                                  at.columns);
  else
    delta_copy<Shape::kThreads>(m.state, m.kStride, at.padded, Shape::kCols, kept, rule.values,
                                rows, at.columns);
}

/// Before a chunk is computed, what the next one copies: a quarter of the threads a tensor, then
/// all of them the state.
template <class Shape>
__device__ inline void delta_prefetch_next(const DeltaRuleCuda& rule, const DeltaPlace<Shape>& at,
                                           const Batched<float>& dy, int first) {
  static_assert(Shape::kKeys == Shape::kCols);
  constexpr int kQuarter = Shape::kThreads / 4;
  const int mine = static_cast<int>(threadIdx.x) % kQuarter;
  const Index key = Index{at.head} * at.keys, value = at.head * rule.values + at.first_column;
  const auto ask = [&](const Batched<float>& from, Index column, int cols) {
    delta_prefetch<Shape::kCols>(mine, kQuarter, at.at(from, first, column), from.stride,
                                 at.count(first), cols);
  };
  switch (threadIdx.x / kQuarter) {
    case 0:
      ask(rule.q, key, at.keys);
      break;
    case 1:
      ask(rule.k, key, at.keys);
      break;
    case 2:
      ask(rule.v, value, at.columns);
      break;
    default:
      ask(dy, value, at.columns);
  }
  if (first > 0)
    delta_prefetch<Shape::kCols>(static_cast<int>(threadIdx.x), Shape::kThreads,
                                 at.kept(rule, first / kDeltaRows - 1), rule.values, at.keys,
                                 at.columns);
}

}  // namespace recallbench
