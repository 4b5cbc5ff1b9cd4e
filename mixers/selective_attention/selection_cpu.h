#pragma once

#include <cstdint>

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CPU twins of selection.h, one replica each; sequences are `length` rows.
template <class T>
void position_softmax_cpu(const Matrix<T>& z, Index length, bool causal, const Matrix<T>& s);
template <class T>
void position_softmax_backward_cpu(const Matrix<T>& z, const Matrix<T>& s, const Matrix<T>& ds,
                                   Index length, bool causal, bool accumulate, const Matrix<T>& dz);

template <class T>
void tempered_gate_cpu(const Matrix<T>& z, T temperature, const Matrix<T>& s);
/// dz and dtemperature may be without data: not wanted.
template <class T>
void tempered_gate_backward_cpu(const Matrix<T>& z, T temperature, const Matrix<T>& s,
                                const Matrix<T>& ds, bool add_z, const Matrix<T>& dz,
                                bool add_temperature, T* dtemperature);

/// `order` holds a number for each row.
template <class T>
void keep_lookups_cpu(const Matrix<T>& s, Index length, Index k, const Matrix<T>& kept,
                      std::int32_t* order);

/// The mean over the sequences that `weights` [B, labels] gives a weight (null: over all).
template <class T>
double lookup_mean_cpu(const Matrix<T>& s, Index length, const float* weights, Index labels);
/// Its gradient times d, at every token.
template <class T>
void lookup_mean_backward_cpu(Index length, const float* weights, Index labels, double d,
                              bool accumulate, const Matrix<T>& ds);

template <class T>
void add_scaled_cpu(const Matrix<T>& x, const Matrix<T>& s, const Matrix<T>& a, const Matrix<T>& y);
/// ds and da may be without data: not wanted.
template <class T>
void add_scaled_backward_cpu(const Matrix<T>& s, const Matrix<T>& a, const Matrix<T>& dy,
                             bool add_s, const Matrix<T>& ds, bool add_a, const Matrix<T>& da);

}  // namespace recallbench
