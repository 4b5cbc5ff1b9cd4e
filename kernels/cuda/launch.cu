#include "kernels/cuda/launch.cuh"

namespace recallbench {

bool cuda_launches_early(const void* kernel) {
  static const bool able = [] {
    int index = 0, major = 0;
    cuda_check(cudaGetDevice(&index), "cudaGetDevice");
    cuda_check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index),
               "cudaDeviceGetAttribute");
    return major >= 9;
  }();
  if (!able) return false;
  cudaFuncAttributes attributes{};
  cuda_check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
  return attributes.ptxVersion >= 90;
}

}  // namespace recallbench
