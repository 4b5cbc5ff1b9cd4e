#pragma once

#include <algorithm>

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Where a gradient of one replica goes, or of a part of one: see Gradient. Without data it is not
/// wanted, and writing does nothing.
template <class T>
struct MatrixGradient {
  Matrix<T> to{};
  bool accumulate = false;

  bool wanted() const { return to.data != nullptr; }
  MatrixGradient columns(Index first, Index count) const {
    return wanted() ? MatrixGradient{to.columns(first, count), accumulate} : MatrixGradient{};
  }

  void write(Index row, Index col, T value) const {
    if (!wanted()) return;
    T& at = to.row(row)[col];
    at = accumulate ? at + value : value;
  }
  /// A whole row.
  void write_row(Index row, const T* values) const {
    if (!wanted()) return;
    T* at = to.row(row);
    for (Index c = 0; c < to.cols; ++c)
      at[c] = accumulate ? at[c] + values[c] : values[c];
  }
  /// Whole rows, from `first` on.
  void write_rows(Index first, const Matrix<T>& values) const {
    for (Index i = 0; wanted() && i < values.rows; ++i)
      write_row(first + i, values.row(i));
  }
  /// Zeros, unless it adds to what is there: for what is then only added to.
  void begin_sum() const {
    for (Index i = 0; wanted() && !accumulate && i < to.rows; ++i)
      std::fill_n(to.row(i), to.cols, T(0));
  }
};

template <class T>
MatrixGradient<T> gradient_of(const Gradient<T>& all, Index replica) {
  if (!all.wanted) return {};
  return {all.view.replica(replica), all.accumulate};
}

}  // namespace recallbench
