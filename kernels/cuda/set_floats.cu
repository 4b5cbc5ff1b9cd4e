#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/runtime.h"

namespace recallbench {
namespace {

__global__ void set_floats(float* memory, float value, std::size_t count) {
  after_previous();
  const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  if (i < count) memory[i] = value;
}

}  // namespace

void cuda_set_floats(float* memory, float value, std::size_t count) {
  constexpr unsigned kThreads = 256;
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  cuda_launch("set_floats", set_floats, {blocks, kThreads, 0, cuda_stream()}, memory, value, count);
}

}  // namespace recallbench
