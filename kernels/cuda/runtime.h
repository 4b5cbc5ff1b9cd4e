#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

#include "kernels/tensor/device.h"

struct CUstream_st;

namespace recallbench {

/// The GPU of this process behind plain C++: no CUDA header is needed to use it, and .cu files, in
/// which nvcc cannot compile fmt, find here what they need. Everything runs
/// in one stream, in order, but for what leaves the line by a branch (branch.h).
using CudaStream = CUstream_st*;

/// Throws Error(internal) with CUDA's words unless `code` (a cudaError_t) is success.
void cuda_check(int code, const char* what,
                std::source_location where = std::source_location::current());
/// The same after a kernel launch.
void cuda_check_launch(const char* kernel,
                       std::source_location where = std::source_location::current());

/// GPUs that this process may use; 0 without a driver.
int cuda_visible_devices();
/// The same, and 0 in a build without CUDA. All else here exists in builds with CUDA alone and is
/// called under `if constexpr (kCudaBuild)`.
inline int cuda_device_count() {
  if constexpr (kCudaBuild) return cuda_visible_devices();
  return 0;
}
/// What GPU `index` is: "NVIDIA H200, compute 9.0, 139 GiB".
std::string cuda_device_text(int index);
/// Chooses the GPU of this process, before anything else is called.
void cuda_select_device(int index);
/// Keeps the GPU open until this process ends. A driver may shut a GPU down when the last process
/// leaves it, and the next waits for seconds until it is up again. The driver's threads take no
/// signals.
void cuda_keep_open(int index);
/// The name of the chosen GPU, "NVIDIA H200": what "the same kind of device" means.
std::string cuda_device_name();
int cuda_multiprocessors();

/// The process' one stream: the line. It goes before what runs beside it.
CudaStream cuda_stream();
/// Waits for all that was enqueued.
void cuda_synchronize();

/// Zeroed, aligned to 256 bytes. Too little memory is an Error(internal) with the bytes that were
/// asked for and those that were free.
std::byte* cuda_allocate(std::size_t bytes);
void cuda_free(std::byte* memory) noexcept;
/// Bytes of the GPU that are in use now, by this process or another.
std::size_t cuda_used_bytes();

/// Enqueued: sets every byte to `value`.
void cuda_fill(void* memory, int value, std::size_t bytes);
/// Both are over when they return; whatever was enqueued before comes first.
void cuda_copy_to_device(void* to, const void* from, std::size_t bytes);
void cuda_copy_to_host(void* to, const void* from, std::size_t bytes);

}  // namespace recallbench
