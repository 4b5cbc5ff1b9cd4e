#pragma once

#include <cstdint>

#include "kernels/cuda/runtime.h"
#include "kernels/tensor/device.h"

namespace recallbench {

/// What every CUDA kernel is given besides its tensors.
struct CudaCall {
  CudaStream stream;
  Precision precision;         ///< of the inputs of matrix products
  const std::uint32_t* step;   ///< [1] on the GPU: optimizer steps done (Batch::device_step)
  const std::uint64_t* seeds;  ///< [R] on the GPU: keys of the random numbers
};

}  // namespace recallbench
