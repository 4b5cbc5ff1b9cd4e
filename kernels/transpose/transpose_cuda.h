#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// to[r, j, i] = from[r, i, j], or += that.
void transpose_cuda(const CudaCall& call, const Batched<float>& from, const Gradient<float>& to);

}  // namespace recallbench
