#include "kernels/matmul/panels.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/error.h"

namespace recallbench {
namespace {

constexpr std::size_t kVectorBytes = 32;

/// One panel's worth of kRows results, held in registers: rows of a, k in [first_k, last_k), times
/// b. `width` columns are written.
template <class T, int kRows>
void multiply_panel(T alpha, const PanelOperand<T>& a, const T* b, Index first_k, Index last_k,
                    bool accumulate, T* c, Index c_stride, Index width) {
  using Vector __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias)) = T;
  constexpr Index kLanes = kVectorBytes / sizeof(T);
  constexpr int kVectors = kPanelCols / kLanes;
  Vector sum[kRows][kVectors] = {};
  const Index row_stride = a.row_stride, col_stride = a.col_stride;
  const T* column = a.data + first_k * col_stride;
  for (Index k = first_k; k < last_k; ++k, column += col_stride) {
    const Vector* row = reinterpret_cast<const Vector*>(b + k * kPanelCols);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const T factor = column[i * row_stride];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sum[i][v] += factor * row[v];
    }
  }
  T edge[kPanelCols];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    T* to = c + i * c_stride;
    Vector* whole = reinterpret_cast<Vector*>(width == kPanelCols ? to : edge);
    const bool add = accumulate && width == kPanelCols;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      whole[v] = add ? whole[v] + alpha * sum[i][v] : alpha * sum[i][v];
    if (width == kPanelCols) continue;
    for (Index j = 0; j < width; ++j)
      to[j] = accumulate ? to[j] + edge[j] : edge[j];
  }
}

template <class T>
using PanelKernel = void (*)(T, const PanelOperand<T>&, const T*, Index, Index, bool, T*, Index,
                             Index);

template <class T>
constexpr PanelKernel<T> kKernels[kPanelRows] = {multiply_panel<T, 1>, multiply_panel<T, 2>,
                                                 multiply_panel<T, 3>, multiply_panel<T, 4>,
                                                 multiply_panel<T, 5>, multiply_panel<T, 6>};

}  // namespace

template <class T>
void pack_panels(const Matrix<T>& from, const Panels<T>& to) {
  for (Index p = 0; p < panel_count(to.cols); ++p) {
    const Index first = p * kPanelCols, width = std::min(kPanelCols, to.cols - first);
    T* panel = to.panel(p);
    for (Index i = 0; i < to.rows; ++i, panel += kPanelCols) {
      if (width == kPanelCols) {
        std::memcpy(panel, from.row(i) + first, kPanelCols * sizeof(T));
      } else {
        std::copy_n(from.row(i) + first, width, panel);
        std::fill(panel + width, panel + kPanelCols, T(0));
      }
    }
  }
}

template <class T>
void pack_transposed_panels(const Matrix<T>& from, const Panels<T>& to) {
  for (Index p = 0; p < panel_count(to.cols); ++p) {
    const Index first = p * kPanelCols, width = std::min(kPanelCols, to.cols - first);
    T* panel = to.panel(p);
    const T* rows[kPanelCols];
    for (Index j = 0; j < kPanelCols; ++j)
      rows[j] = from.row(first + std::min(j, width - 1));
    for (Index i = 0; i < to.rows; ++i, panel += kPanelCols)
      for (Index j = 0; j < kPanelCols; ++j)
        panel[j] = rows[j][i];
    if (width == kPanelCols) continue;
    panel = to.panel(p);
    for (Index i = 0; i < to.rows; ++i, panel += kPanelCols)
      std::fill(panel + width, panel + kPanelCols, T(0));
  }
}

template <class T>
void multiply_panels(Index rows, T alpha, const PanelOperand<T>& a, const Panels<T>& b,
                     const PanelRange& range, bool accumulate, T* c, Index c_stride) {
  check(rows >= 1 && rows <= kPanelRows && range.last_k <= b.rows &&
            range.last_panel <= panel_count(b.cols),
        "multiply_panels",
        "expected 1 to {} rows within [{}, {}], got {} rows, k up to {}, panel {}", kPanelRows,
        b.rows, b.cols, rows, range.last_k, range.last_panel);
  const PanelKernel<T> kernel = kKernels<T>[rows - 1];
  for (Index p = range.first_panel; p < range.last_panel; ++p, c += kPanelCols)
    kernel(alpha, a, b.panel(p), range.first_k, range.last_k, accumulate, c, c_stride,
           std::min(kPanelCols, b.cols - p * kPanelCols));
}

template void pack_panels(const Matrix<float>&, const Panels<float>&);
template void pack_panels(const Matrix<double>&, const Panels<double>&);
template void pack_transposed_panels(const Matrix<float>&, const Panels<float>&);
template void pack_transposed_panels(const Matrix<double>&, const Panels<double>&);
template void multiply_panels(Index, float, const PanelOperand<float>&, const Panels<float>&,
                              const PanelRange&, bool, float*, Index);
template void multiply_panels(Index, double, const PanelOperand<double>&, const Panels<double>&,
                              const PanelRange&, bool, double*, Index);

}  // namespace recallbench
