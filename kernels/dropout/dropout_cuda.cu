// Floor: one tensor read and one written (B = 256, L = 256, D = 128: 67 MB, 16 us). One Philox
// counter gives the four numbers that a thread takes; its 60 integer operations hide behind the
// memory.
#include "kernels/cuda/elements.cuh"
#include "kernels/dropout/dropout_cuda.h"
#include "kernels/dropout/dropout_on_device.cuh"

namespace recallbench {
namespace {

struct Masked {
  DropoutOnDevice mask;
  template <int kVec>
  __device__ void operator()(int replica, Index element, const float (&x)[kVec],
                             const float (&)[kVec], float (&y)[kVec]) const {
    float scales[kVec];
    dropout_scales(mask, replica, element, scales);
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      y[k] = x[k] * scales[k];
  }
};

}  // namespace

void dropout_cuda(const CudaCall& call, std::uint32_t random_id, double p,
                  const Batched<float>& from, const Gradient<float>& to) {
  map_elements_cuda(call, "dropout", from, {}, to, Masked{dropout_on_device(call, random_id, p)});
}

}  // namespace recallbench
