#pragma once

// What every kernel of weight gradients is told, and which part of the work a block has.

#include "kernels/cuda/elements.cuh"

namespace recallbench::weight_gradient {

constexpr int kRows = 32;  // that a block multiplies at a time: a stage

/// The sum over rows, cut.
struct Slices {
  Index rows_each, count;
};

__host__ __device__ inline Index ceil_div(Index a, Index b) {
  return (a + b - 1) / b;
}

/// What a kernel needs: parts [R, slices, out in (+ out)].
struct WeightGradient {
  Batched<float> tall, narrow;
  bool tall_is_x, tall_quads, narrow_quads, part_pairs, bias;
  Slices slices;
  Index tall_tiles;
  float* parts;

  __host__ __device__ Index out() const { return tall_is_x ? narrow.cols : tall.cols; }
  __host__ __device__ Index in() const { return tall_is_x ? tall.cols : narrow.cols; }
  __host__ __device__ Index part_numbers() const { return out() * (in() + (bias ? 1 : 0)); }
};

/// A block's rows and columns.
struct Range {
  const float *tall, *narrow;  // at its first row and column
  int tall_columns, narrow_columns;
  Index rows;
};

template <class T>
__device__ Range range_of(const WeightGradient& w) {
  const Index tall0 = blockIdx.x % w.tall_tiles * T::kTall;
  const Index narrow0 = blockIdx.x / w.tall_tiles * T::kNarrow;
  const Index replica = blockIdx.z, first = blockIdx.y * w.slices.rows_each;
  return {place_of(w.tall, replica, first, tall0), place_of(w.narrow, replica, first, narrow0),
          static_cast<int>(min(w.tall.cols - tall0, Index{T::kTall})),
          static_cast<int>(min(w.narrow.cols - narrow0, Index{T::kNarrow})),
          min(w.slices.rows_each, w.tall.rows - first)};
}

/// How often a block multiplies.
__device__ inline int stages_of(const Range& range) {
  return static_cast<int>((range.rows + kRows - 1) / kRows);
}

/// Whether a block has column sums of dy to store: of those with the same columns one.
__device__ inline bool has_sums(const WeightGradient& w) {
  return w.bias && (w.tall_is_x ? blockIdx.x % w.tall_tiles : blockIdx.x / w.tall_tiles) == 0;
}

}  // namespace recallbench::weight_gradient
