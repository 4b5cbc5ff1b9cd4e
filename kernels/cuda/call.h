#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cuda/runtime.h"
#include "kernels/tensor/device.h"

namespace recallbench {

struct PartialSums;

/// What every CUDA kernel is given besides its tensors.
struct CudaCall {
  CudaStream stream;
  Precision precision;         ///< of the inputs of matrix products
  const std::uint32_t* step;   ///< [1] on the GPU: optimizer steps done (Batch::device_step)
  const std::uint64_t* seeds;  ///< [R] on the GPU: keys of the random numbers
  /// Where sums of partial gradients may wait for the end of the backward walk (partial_sums.h);
  /// null where they may not.
  std::vector<PartialSums>* late_sums = nullptr;
};

}  // namespace recallbench
