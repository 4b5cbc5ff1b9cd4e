#include "kernels/cuda/shared_memory.h"

#include <cuda_runtime_api.h>

#include "kernels/base/error.h"
#include "kernels/cuda/runtime.h"

namespace recallbench {

std::size_t cuda_shared_limit() {
  static const std::size_t limit = [] {
    int index = 0, bytes = 0;
    cuda_check(cudaGetDevice(&index), "cudaGetDevice");
    cuda_check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, index),
               "cudaDeviceGetAttribute");
    return static_cast<std::size_t>(bytes);
  }();
  return limit;
}

void cuda_allow_shared_at(const void* kernel, std::size_t bytes, const char* operation) {
  cudaFuncAttributes attributes{};
  cuda_check(cudaFuncGetAttributes(&attributes, kernel), operation);
  const std::size_t limit = cuda_shared_limit(), needed = bytes + attributes.sharedSizeBytes;
  if (needed > limit)
    fail(ErrorKind::usage, operation,
         "a block of this kernel needs {} KB of shared memory, {} has {} KB for one; take "
         "smaller heads or states, or shorter sequences, or use --device cpu",
         (needed + 1023) / 1024, cuda_device_name(), limit / 1024);
  const int allowed = static_cast<int>(bytes);
  if (allowed > attributes.maxDynamicSharedSizeBytes)
    cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, allowed),
               operation);
}

void cuda_prefer_shared_at(const void* kernel) {
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                  cudaSharedmemCarveoutMaxShared),
             "cudaFuncSetAttribute");
}

}  // namespace recallbench
