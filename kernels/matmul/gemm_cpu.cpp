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
