#pragma once

#include "kernels/tensor/matrix_gradient.h"
#include "mixers/nsa/sparse_size.h"

namespace recallbench {

/// CPU twins of sparse.h, one replica each. Rows of x are `length` an example.
template <class T>
void block_rows_cpu(const Matrix<T>& x, Index length, const Matrix<T>& places, Index block,
                    const Matrix<T>& y);
template <class T>
void block_rows_backward_cpu(const Matrix<T>& dy, Index length, Index block,
                             const MatrixGradient<T>& dx, const MatrixGradient<T>& dplaces);

/// y has `rows` rows an example.
template <class T>
void with_memory_cpu(const Matrix<T>& x, const Matrix<T>& memory, Index rows, const Matrix<T>& y);
template <class T>
void with_memory_backward_cpu(const Matrix<T>& dy, Index rows, const MatrixGradient<T>& dx,
                              const MatrixGradient<T>& dmemory);

/// scratch holds grouped_attention_scratch numbers; `chosen` may be without data.
template <class T>
void grouped_attention_cpu(const SparseSize& size, const Matrix<T>& q, const Matrix<T>& k,
                           const Matrix<T>& v, const Matrix<T>& chosen, const Matrix<T>& o,
                           T* scratch);
template <class T>
void grouped_attention_backward_cpu(const SparseSize& size, const Matrix<T>& q, const Matrix<T>& k,
                                    const Matrix<T>& v, const Matrix<T>& chosen,
                                    const Matrix<T>& d_o, const MatrixGradient<T>& dq,
                                    const MatrixGradient<T>& dk, const MatrixGradient<T>& dv,
                                    T* scratch);
Index grouped_attention_scratch(const SparseSize& size);

template <class T>
void choose_blocks_cpu(const SparseSize& size, const Matrix<T>& q, const Matrix<T>& k,
                       const Matrix<T>& chosen, T* scratch);

template <class T>
void combine_branches_cpu(const Matrix<T>& gates, const Matrix<T>* branches, const Matrix<T>& y);
template <class T>
void combine_branches_backward_cpu(const Matrix<T>& gates, const Matrix<T>* branches,
                                   const Matrix<T>& dy, const MatrixGradient<T>& dgates,
                                   const MatrixGradient<T>* dbranches);

}  // namespace recallbench
