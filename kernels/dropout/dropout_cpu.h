#pragma once

#include <cstdint>

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Which mask: see dropout.h.
struct DropoutMask {
  std::uint64_t seed;
  std::uint32_t step, random_id;
  double p;
};

/// to = from ⊙ mask / (1 - p), or to += that; both [rows, cols].
template <class T>
void dropout_cpu(const DropoutMask& mask, const Matrix<T>& from, const Matrix<T>& to,
                 bool accumulate);

}  // namespace recallbench
