#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

#include "kernels/cuda/runtime.h"

namespace recallbench {

// How kernels follow one another. Between the last block of a kernel and the first of the next lies
// a microsecond, and a small step is dozens of kernels. So the next is launched as soon as the last
// block of the one before has returned, and its blocks wait by themselves until that kernel is
// wholly over and what it wrote can be read ("Programmatic Dependent Launch" in NVIDIA's CUDA C++
// Programming Guide).

/// The first statement of every kernel that cuda_launch enqueues: waits until all that was
/// enqueued before has ended and what it wrote can be read. Before compute 9.0 there is nothing
/// to wait for: a kernel is launched when the one before has ended.
__device__ __forceinline__ void after_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Whether `kernel` may be launched before the one ahead of it has ended: on a GPU from compute 9.0
/// on, where it was compiled for one. Older code, translated for such a GPU, does not wait.
bool cuda_launches_early(const void* kernel);

struct CudaGrid {
  dim3 blocks, threads;
  std::size_t shared_bytes;  ///< dynamic, for each block
  CudaStream stream;
};

/// Enqueues `kernel`, which begins with after_previous(). A launch that CUDA refuses is an
/// Error(internal) with `name` and CUDA's words.
template <class... Parameters, class... Arguments>
void cuda_launch(const char* name, void (*kernel)(Parameters...), const CudaGrid& grid,
                 Arguments&&... arguments) {
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = grid.stream;
  config.attrs = &early;
  config.numAttrs = cuda_launches_early(reinterpret_cast<const void*>(kernel)) ? 1 : 0;
  cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  cuda_check_launch(name);
}

}  // namespace recallbench
