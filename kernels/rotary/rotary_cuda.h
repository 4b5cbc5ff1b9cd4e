#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twin of rotary_cpu: heads of 2 · pairs columns, sequences of `length` rows.
void rotary_cuda(const CudaCall& call, Index length, Index pairs, double base,
                 const Batched<float>& x, bool back, const Gradient<float>& to);

}  // namespace recallbench
