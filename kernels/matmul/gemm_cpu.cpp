#include <Eigen/Core>

#include "kernels/matmul/gemm.h"

namespace recallbench {
namespace {

template <class T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using ConstMap = Eigen::Map<const RowMajor<T>, Eigen::Unaligned, Eigen::OuterStride<>>;
template <class T>
using Map = Eigen::Map<RowMajor<T>, Eigen::Unaligned, Eigen::OuterStride<>>;

/// Eigen's block sizes follow the caches it finds; constants give every machine the same sums.
const bool cache_sizes_fixed = [] {
  Eigen::setCpuCacheSizes(32 << 10, 512 << 10, 4 << 20);
  return true;
}();

template <class Product, class C>
void assign(const Product& product, bool accumulate, C& c) {
  if (accumulate)
    c.noalias() += product;
  else
    c.noalias() = product;
}

template <class A, class B, class C, class T>
void multiply(const A& a, const B& b, T alpha, bool accumulate, C& c) {
  if (alpha == T(1))  // with a factor, a product of one row or column copies the other side
    assign(a * b, accumulate, c);
  else
    assign(alpha * (a * b), accumulate, c);
}

/// c_i = alpha Σ_k a(i, k) x_k, or c_i += that; number (i, k) of a lies at a + i · row + k · col.
template <class T>
void multiply_vector(const T* a, Index row, Index col, const T* x, Index x_step, Index n, T alpha,
                     bool accumulate, T* c, Index c_step, Index count) {
  if (!accumulate)
    for (Index i = 0; i < count; ++i)
      c[i * c_step] = 0;
  if (col == 1) {
    for (Index i = 0; i < count; ++i) {
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Index k = 0; k < n; ++k)
        sum += a[i * row + k] * x[k * x_step];
      c[i * c_step] += alpha * sum;
    }
    return;
  }
  for (Index k = 0; k < n; ++k) {
    const T factor = alpha * x[k * x_step];
#pragma omp simd
    for (Index i = 0; i < count; ++i)
      c[i * c_step] += factor * a[i * row + k * col];
  }
}

}  // namespace

template <class T>
void gemm(Transpose ta, Transpose tb, T alpha, const Matrix<const T>& a, const Matrix<const T>& b,
          bool accumulate, const Matrix<T>& c) {
  const Index k = ta == Transpose::no ? a.cols : a.rows;
  check((ta == Transpose::no ? a.rows : a.cols) == c.rows &&
            (tb == Transpose::no ? b.rows : b.cols) == k &&
            (tb == Transpose::no ? b.cols : b.rows) == c.cols,
        "gemm", "sizes do not fit: [{}, {}]{} times [{}, {}]{} into [{}, {}]", a.rows, a.cols,
        ta == Transpose::no ? "" : "^T", b.rows, b.cols, tb == Transpose::no ? "" : "^T", c.rows,
        c.cols);
  // Eigen would allocate for a single row or column.
  const bool plain_a = ta == Transpose::no, plain_b = tb == Transpose::no;
  const Index a_row = plain_a ? a.stride : 1, a_col = plain_a ? 1 : a.stride;
  const Index b_row = plain_b ? b.stride : 1, b_col = plain_b ? 1 : b.stride;
  if (c.cols == 1)
    return multiply_vector(a.data, a_row, a_col, b.data, b_row, k, alpha, accumulate, c.data,
                           c.stride, c.rows);
  if (c.rows == 1)
    return multiply_vector(b.data, b_col, b_row, a.data, a_col, k, alpha, accumulate, c.data,
                           Index{1}, c.cols);
  const ConstMap<T> ma(a.data, a.rows, a.cols, Eigen::OuterStride<>(a.stride));
  const ConstMap<T> mb(b.data, b.rows, b.cols, Eigen::OuterStride<>(b.stride));
  Map<T> mc(c.data, c.rows, c.cols, Eigen::OuterStride<>(c.stride));
  if (ta == Transpose::no && tb == Transpose::no)
    multiply(ma, mb, alpha, accumulate, mc);
  else if (ta == Transpose::no)
    multiply(ma, mb.transpose(), alpha, accumulate, mc);
  else if (tb == Transpose::no)
    multiply(ma.transpose(), mb, alpha, accumulate, mc);
  else
    multiply(ma.transpose(), mb.transpose(), alpha, accumulate, mc);
}

template void gemm<float>(Transpose, Transpose, float, const Matrix<const float>&,
                          const Matrix<const float>&, bool, const Matrix<float>&);
template void gemm<double>(Transpose, Transpose, double, const Matrix<const double>&,
                           const Matrix<const double>&, bool, const Matrix<double>&);

}  // namespace recallbench
