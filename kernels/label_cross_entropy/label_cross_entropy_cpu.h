#pragma once

#include <cstdint>

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// One replica of label_cross_entropy.
template <class T>
struct LabelCrossEntropyArguments {
  Matrix<T> h, table;           ///< [M, D], [V, D]
  const std::int32_t* targets;  ///< [M]
  const float* weights;         ///< [M]
  T* loss;                      ///< [1]
  Matrix<T> row_loss, correct;  ///< [M, 1]
  bool training;                ///< compute dh and dtable
  Gradient<T> dh, dtable;
  Index replica;  ///< of the gradients' views
  T* scratch;     ///< label_cross_entropy_scratch(V, D) numbers
};

Index label_cross_entropy_scratch(Index vocab, Index cols);

template <class T>
void label_cross_entropy_cpu(const LabelCrossEntropyArguments<T>& a);

}  // namespace recallbench
