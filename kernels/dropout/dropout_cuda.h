#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// to = from ⊙ mask / (1 - p), or to += that, for all replicas; `to` may share memory with `from`.
/// The mask is that of dropout.h for the random operation `random_id`; p = 0 drops nothing.
void dropout_cuda(const CudaCall& call, std::uint32_t random_id, double p,
                  const Batched<float>& from, const Gradient<float>& to);

}  // namespace recallbench
