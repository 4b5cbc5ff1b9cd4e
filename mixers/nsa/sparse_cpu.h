#pragma once

#include "kernels/tensor/matrix.h"
#include "mixers/nsa/sparse_size.h"

namespace recallbench {

/// A gradient of one replica; without data where it is not wanted.
template <class T>
struct SparseGradient {
  Matrix<T> to;
  bool add;
};

/// CPU twins of sparse.h, one replica each. Rows of x are `length` an example.
template <class T>
void block_rows_cpu(const Matrix<T>& x, Index length, const Matrix<T>& places, Index block,
                    const Matrix<T>& y);
template <class T>
void block_rows_backward_cpu(const Matrix<T>& dy, Index length, Index block,
                             const SparseGradient<T>& dx, const SparseGradient<T>& dplaces);

/// y has `rows` rows an example.
template <class T>
void with_memory_cpu(const Matrix<T>& x, const Matrix<T>& memory, Index rows, const Matrix<T>& y);
template <class T>
void with_memory_backward_cpu(const Matrix<T>& dy, Index rows, const SparseGradient<T>& dx,
                              const SparseGradient<T>& dmemory);

/// scratch holds grouped_attention_scratch numbers; `chosen` may be without data.
template <class T>
void grouped_attention_cpu(const SparseSize& size, const Matrix<T>& q, const Matrix<T>& k,
                           const Matrix<T>& v, const Matrix<T>& chosen, const Matrix<T>& o,
                           T* scratch);
template <class T>
void grouped_attention_backward_cpu(const SparseSize& size, const Matrix<T>& q, const Matrix<T>& k,
                                    const Matrix<T>& v, const Matrix<T>& chosen,
                                    const Matrix<T>& d_o, const SparseGradient<T>& dq,
                                    const SparseGradient<T>& dk, const SparseGradient<T>& dv,
                                    T* scratch);
Index grouped_attention_scratch(const SparseSize& size);

template <class T>
void choose_blocks_cpu(const SparseSize& size, const Matrix<T>& q, const Matrix<T>& k,
                       const Matrix<T>& chosen, T* scratch);

template <class T>
void combine_branches_cpu(const Matrix<T>& gates, const Matrix<T>* branches, const Matrix<T>& y);
template <class T>
void combine_branches_backward_cpu(const Matrix<T>& gates, const Matrix<T>* branches,
                                   const Matrix<T>& dy, const SparseGradient<T>& dgates,
                                   const SparseGradient<T>* dbranches);

}  // namespace recallbench
