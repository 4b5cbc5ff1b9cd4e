#include "kernels/cuda/launch.cuh"

namespace recallbench {

bool cuda_launches_early() {
  static const bool early = [] {
    int index = 0, major = 0;
    cuda_check(cudaGetDevice(&index), "cudaGetDevice");
    cuda_check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index),
               "cudaDeviceGetAttribute");
    return major >= 9;
  }();
  return early;
}

}  // namespace recallbench
