#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// c = a · weightᵀ + bias, or c += that, on tensor cores: very many rows, few columns, and a weight
/// so small that blocks keep it in shared memory while rows stream past. c [R, n, out]. The order
/// of every sum follows from the sizes of one replica.
struct StreamedProduct {
  Batched<float> a;         ///< [R, n, in]
  Batched<float> weight;    ///< [R, out, in], or [R, in, out] where `transposed`
  bool transposed = false;  ///< c = a · weight
  Batched<float> bias{};    ///< [R, 1, out], or empty
  Batched<float> c;
  bool accumulate = false;
};

/// Whether it is the better way: decided by precision, `in` and `out` alone.
bool streamed_product_fits(const CudaCall& call, const StreamedProduct& product);

void streamed_product_cuda(const CudaCall& call, const StreamedProduct& product);

}  // namespace recallbench
