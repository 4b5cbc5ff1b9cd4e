#pragma once

#include "kernels/tensor/shape.h"

namespace recallbench {

/// A value of a graph under recording: what it will hold, not yet where. Within a replica it is a
/// row-major matrix [rows, cols] with one row stride; slices of rows or columns are views of the
/// same memory, everything else copies. Cheap to copy.
struct Tensor {
  Shape shape;
  int value = -1;    ///< index of the graph's value
  Index offset = 0;  ///< first element, within the value's replica slice
  Index stride = 0;  ///< elements from row to row

  Index rows() const { return shape.rows(); }
  Index cols() const { return shape.cols(); }

  /// Columns [first, first + count) of every row.
  Tensor columns(Index first, Index count) const;
  /// Rows [first, first + count) of a tensor of three dimensions (a parameter, mostly).
  Tensor row_range(Index first, Index count) const;
  /// The same numbers in the same order with other dimensions; the replica dimension stays. The
  /// last dimension may change only where the rows lie side by side.
  Tensor reshaped(const Shape& shape) const;
};

}  // namespace recallbench
