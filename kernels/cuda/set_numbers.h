#pragma once

#include "kernels/cuda/runtime.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// to = value for all replicas, zeros by a kernel too: one that follows it is launched early
/// (launch.cuh), which cudaMemset's is not. What lies between rows and between replicas stays.
void cuda_set_numbers(CudaStream stream, const Batched<float>& to, float value);

}  // namespace recallbench
