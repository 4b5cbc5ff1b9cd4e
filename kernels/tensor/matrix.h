#pragma once

#include "kernels/tensor/shape.h"

namespace recallbench {

/// One replica's numbers as a row-major matrix in memory: row i begins at data + i * stride.
template <class T>
struct Matrix {
  T* data;
  Index rows, cols, stride;

  T* row(Index i) const { return data + i * stride; }
  Matrix block(Index first_row, Index count) const { return {row(first_row), count, cols, stride}; }
  Matrix columns(Index first, Index count) const { return {data + first, rows, count, stride}; }
};

/// The same for all replicas; slices begin replica_stride numbers apart, 256-byte aligned.
template <class T>
struct Batched {
  T* data = nullptr;
  Index replicas = 0, rows = 0, cols = 0, stride = 0, replica_stride = 0;

  Matrix<T> replica(Index r) const { return {data + r * replica_stride, rows, cols, stride}; }
};

/// Where a gradient goes. `accumulate`: add to what is there; otherwise overwrite it, every
/// element. Nothing may be touched where it is not `wanted`. `late`: nothing else of the backward
/// walk writes or reads it, so it may be written as late as at the end.
template <class T>
struct Gradient {
  Batched<T> view;
  bool wanted = false;
  bool accumulate = false;
  bool late = false;
};

}  // namespace recallbench
