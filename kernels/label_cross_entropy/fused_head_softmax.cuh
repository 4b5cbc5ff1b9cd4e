#pragma once

// What becomes of a tile of scores, in the registers of the warps that computed it: lane l has, of
// fragment m of 16 rows, s[m][n][0] and [1] of row l / 4, columns 8 n + 2 (l % 4) and the next, and
// s[m][n][2] and [3] of row l / 4 + 8. Its rows are numbered 2 m + half.

#include <cmath>

#include "kernels/cuda/reduce.cuh"
#include "kernels/label_cross_entropy/fused_head_plan.cuh"
#include "kernels/label_cross_entropy/tensor_core.cuh"

namespace recallbench::fused_head {

template <int kFragments, int kEights>
using Fragments = float[kFragments][kEights][4];

/// One row of a tile as the table pass needs it.
struct Column {
  float offset;  // kShift + log2(w) - log2 of the row's Σ e^logit; -inf where w = 0
  int target;    // -1 past the last row
};

/// Which block of kept rows, part of the streamed tiles and replica is the `number`th.
struct Share {
  int own, part;
  Index replica;
  int first, last;  // tiles [first, last)

  __device__ Share(int number, int own_blocks, int parts, int tiles) {
    const int block = number % (own_blocks * parts);
    own = block % own_blocks, part = block / own_blocks;
    replica = number / (own_blocks * parts);
    first = part * tiles / parts, last = (part + 1) * tiles / parts;
  }
};

/// What a thread of the row pass knows of its rows.
template <int kRows>
struct RunningSoftmax {
  float largest[kRows], sum[kRows];
  int target[kRows];
};

/// Columns of the tile from `end` on are no words.
template <int kFragments, int kEights>
__device__ inline void drop_from(int end, Fragments<kFragments, kEights>& s, int column) {
#pragma unroll
  for (int m = 0; m < kFragments; ++m)
#pragma unroll
    for (int n = 0; n < kEights; ++n)
#pragma unroll
      for (int c = 0; c < 4; ++c)
        if (8 * n + column + c % 2 >= end) s[m][n][c] = -INFINITY;
}

/// Of row `r`, whose target lies in this tile: its score, and the largest score before it.
template <int kFragments, int kEights>
__device__ inline float2 target_and_before(const Fragments<kFragments, kEights>& s, int r,
                                           int target, int column) {
  float of_target = -INFINITY, before = -INFINITY;
#pragma unroll
  for (int n = 0; n < kEights; ++n)
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const float x = s[r / 2][n][2 * (r % 2) + c];
      const int at = 8 * n + column + c;
      if (at == target) of_target = x;
      if (at < target) before = fmaxf(before, x);
    }
  return make_float2(warp_max<4>(of_target), warp_max<4>(before));
}

/// The largest scores of the rows so far, of words from `word` on too, and whether any row's grew;
/// put(r, {target's score, largest one before it in this part}) where row r meets its target.
template <int kFragments, int kEights, class Put>
__device__ inline bool find_largest(const RunningSoftmax<2 * kFragments>& rows,
                                    const Fragments<kFragments, kEights>& s, int word, int column,
                                    float (&largest)[2 * kFragments], const Put& put) {
  bool grew = false;
#pragma unroll
  for (int r = 0; r < 2 * kFragments; ++r) {
    float x = rows.largest[r];
#pragma unroll
    for (int n = 0; n < kEights; ++n)
      x = fmaxf(x, fmaxf(s[r / 2][n][2 * (r % 2)], s[r / 2][n][2 * (r % 2) + 1]));
    largest[r] = warp_max<4>(x);
    grew |= largest[r] > rows.largest[r];
    const int target = rows.target[r] - word;
    const bool here = static_cast<unsigned>(target) < unsigned{8 * kEights};
    if (__any_sync(0xffffffffu, here)) {
      float2 stats = target_and_before<kFragments, kEights>(s, r, target, column);
      stats.y = fmaxf(stats.y, rows.largest[r]);
      if (here && column == 0) put(r, stats);
    }
  }
  return __any_sync(0xffffffffu, grew);
}

/// Puts larger maxima in place: sums so far shrink, and so must results, by `factor`.
template <int kRows>
__device__ inline void grow_to(RunningSoftmax<kRows>& rows, const float (&largest)[kRows],
                               float to_log2, float (&factor)[kRows]) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    factor[r] = exp2_approximate((rows.largest[r] - largest[r]) * to_log2);
    rows.largest[r] = largest[r];
    rows.sum[r] *= factor[r];
  }
}

/// Both rows of a fragment of the result.
template <int kEights>
__device__ inline void shrink(float (&result)[kEights][4], float first, float second) {
#pragma unroll
  for (auto& four : result) {
    four[0] *= first, four[1] *= first;
    four[2] *= second, four[3] *= second;
  }
}

/// Scores become weights 2^(kShift + to_log2 (score - largest)), which are summed.
template <int kFragments, int kEights>
__device__ inline void weigh(RunningSoftmax<2 * kFragments>& rows, float to_log2,
                             Fragments<kFragments, kEights>& s) {
#pragma unroll
  for (int r = 0; r < 2 * kFragments; ++r) {
    const float offset = kShift - rows.largest[r] * to_log2;
#pragma unroll
    for (int n = 0; n < kEights; ++n)
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float& x = s[r / 2][n][2 * (r % 2) + c];
        x = exp2_approximate(fmaf(x, to_log2, offset));
        rows.sum[r] += x;
      }
  }
}

/// Scores become 2^kShift w (softmax - [word = target]) by the rows `columns` of the tile, whose
/// weights are w. The warp's words begin at `word`.
template <int kFragments, int kEights>
__device__ inline void weigh_columns(const Column* columns, const float* weights, float to_log2,
                                     int word, Fragments<kFragments, kEights>& s) {
  const int lane = threadIdx.x % 32, column = 2 * (lane % 4);
  word += lane / 4;
  // Which of a lane's rows of the fragments is the target, if less than 2 kFragments.
  const auto row_of = [&](float target) {
    const auto ahead = static_cast<unsigned>(__float_as_int(target) - word);
    return __funnelshift_r(ahead, ahead, 3);
  };
  bool meets = false;
#pragma unroll
  for (int n = 0; n < kEights; ++n) {
    const float4 two = *reinterpret_cast<const float4*>(columns + 8 * n + column);
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c)
        s[m][n][c] = exp2_approximate(fmaf(s[m][n][c], to_log2, c % 2 == 0 ? two.x : two.z));
    meets |= min(row_of(two.y), row_of(two.w)) < 2 * kFragments;
  }
  if (!__any_sync(0xffffffffu, meets)) return;
#pragma unroll
  for (int n = 0; n < kEights; ++n)
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const unsigned row = row_of(__int_as_float(columns[8 * n + column + c].target));
      if (row >= 2 * kFragments) continue;
      const float weight = weights[8 * n + column + c] * kScale;
#pragma unroll
      for (unsigned r = 0; r < 2 * kFragments; ++r)
        s[r / 2][n][2 * (r % 2) + c] -= row == r ? weight : 0;
    }
  __syncwarp();
}

}  // namespace recallbench::fused_head
