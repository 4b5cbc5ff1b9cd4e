#include "kernels/cuda/readback.h"

#include <cuda_runtime_api.h>

#include "kernels/cuda/runtime.h"

namespace recallbench {

Readback::Readback(std::size_t count) : size_(count) {
  device_ = reinterpret_cast<float*>(cuda_allocate(count * sizeof(float)));
  cuda_check(cudaMallocHost(reinterpret_cast<void**>(&host_), count * sizeof(float)),
             "cudaMallocHost");
  for (CUevent_st*& mark : marks_)
    cuda_check(cudaEventCreateWithFlags(&mark, cudaEventDisableTiming), "cudaEventCreate");
}

Readback::~Readback() {
  for (CUevent_st* mark : marks_)
    if (mark != nullptr) cudaEventDestroy(mark);
  cudaFreeHost(host_);
  cuda_free(reinterpret_cast<std::byte*>(device_));
}

void Readback::enqueue(std::size_t first, std::size_t count, int mark) {
  cuda_check(cudaMemcpyAsync(host_ + first, device_ + first, count * sizeof(float),
                             cudaMemcpyDeviceToHost, cuda_stream()),
             "a copy from the GPU");
  cuda_check(cudaEventRecord(marks_[mark], cuda_stream()), "cudaEventRecord");
}

void Readback::wait(int mark) const {
  cuda_check(cudaEventSynchronize(marks_[mark]), "a computation on the GPU");
}

}  // namespace recallbench
