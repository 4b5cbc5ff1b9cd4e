#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Columns of a panel, and rows of a result that one call computes.
inline constexpr Index kPanelCols = 16;
inline constexpr Index kPanelRows = 6;

inline constexpr Index panel_count(Index cols) {
  return (cols + kPanelCols - 1) / kPanelCols;
}
/// Numbers that a packed matrix takes.
inline constexpr Index panel_numbers(Index rows, Index cols) {
  return rows * panel_count(cols) * kPanelCols;
}

/// A matrix packed for products with many short rows: its columns in panels of kPanelCols, each
/// panel row after row, the last one padded with zeros.
template <class T>
struct Panels {
  T* data;
  Index rows, cols;

  T* panel(Index p) const { return data + p * rows * kPanelCols; }
};

/// Packs `from` [rows, cols].
template <class T>
void pack_panels(const Matrix<T>& from, const Panels<T>& to);
/// Packs the transpose of `from` [cols, rows].
template <class T>
void pack_transposed_panels(const Matrix<T>& from, const Panels<T>& to);

/// Left operand: a(i, k) = data[i * row_stride + k * col_stride].
template <class T>
struct PanelOperand {
  const T* data;
  Index row_stride, col_stride;
};

/// The part of a product that is wanted: k in [first_k, last_k), panels [first_panel, last_panel).
struct PanelRange {
  Index first_k, last_k, first_panel, last_panel;
};

/// c(i, j) = alpha · Σ_k a(i, k) b(k, j), or c += that, for i < rows <= kPanelRows and the range's
/// k and columns. `c` points at the first row and at the first column of `range.first_panel`.
/// Where a mask leaves a band or a triangle of a product, this computes little besides: gemm.h
/// would compute the square around it and pack its operands for every block.
template <class T>
void multiply_panels(Index rows, T alpha, const PanelOperand<T>& a, const Panels<T>& b,
                     const PanelRange& range, bool accumulate, T* c, Index c_stride);

}  // namespace recallbench
