#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

enum class Transpose { no, yes };

/// C = alpha · op(A) · op(B), or C += that. op(A) is m x k, op(B) k x n, C m x n: the sizes of `c`
/// and of op(A) must agree. One thread; the bits depend on sizes, strides and alignment alone.
/// All matrix products of the CPU go through here (the other translation units never instantiate
/// Eigen's product).
template <class T>
void gemm(Transpose ta, Transpose tb, T alpha, const Matrix<const T>& a, const Matrix<const T>& b,
          bool accumulate, const Matrix<T>& c);

template <class T>
Matrix<const T> constant_view(const Matrix<T>& m) {
  return {m.data, m.rows, m.cols, m.stride};
}

/// The same without the const of its arguments.
template <class T>
void gemm(Transpose ta, Transpose tb, T alpha, const Matrix<T>& a, const Matrix<T>& b,
          bool accumulate, const Matrix<T>& c) {
  gemm<T>(ta, tb, alpha, constant_view(a), constant_view(b), accumulate, c);
}

}  // namespace recallbench
