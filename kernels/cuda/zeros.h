#pragma once

#include "kernels/cuda/runtime.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// to = 0 for all replicas, by a kernel: one that follows it is launched early (launch.cuh), which
/// cudaMemset's is not. What lies between rows and between replicas stays.
void cuda_zeros(CudaStream stream, const Batched<float>& to);

}  // namespace recallbench
