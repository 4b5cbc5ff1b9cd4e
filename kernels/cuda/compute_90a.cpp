#include "kernels/cuda/compute_90a.h"

#include <cuda_runtime.h>

#include "kernels/cuda/runtime.h"

namespace recallbench {

bool cuda_has_wgmma() {
#ifdef RECALLBENCH_SM90A
  static const bool has = [] {
    int index = 0, major = 0, minor = 0;
    cuda_check(cudaGetDevice(&index), "cudaGetDevice");
    cuda_check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index),
               "cudaDeviceGetAttribute");
    cuda_check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index),
               "cudaDeviceGetAttribute");
    return major == 9 && minor == 0;
  }();
  return has;
#else
  return false;
#endif
}

}  // namespace recallbench
