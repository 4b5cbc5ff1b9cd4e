#include "kernels/cuda/runtime.h"

#include <cuda_runtime_api.h>
#include <signal.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/tensor/arena.h"

namespace recallbench {
namespace {

/// While it lives, the driver's own threads are made with every signal blocked: else one of them
/// may be the one that a signal of the process is delivered to, which then ends it, or is lost.
class ThreadsWithoutSignals {
 public:
  ThreadsWithoutSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~ThreadsWithoutSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  ThreadsWithoutSignals(const ThreadsWithoutSignals&) = delete;
  ThreadsWithoutSignals& operator=(const ThreadsWithoutSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

void cuda_check(int code, const char* what, std::source_location where) {
  if (code == cudaSuccess) return;
  const auto error = static_cast<cudaError_t>(code);
  fail_internal(
      Who("cuda", where),
      fmt::format("{} failed: {} ({})", what, cudaGetErrorString(error), cudaGetErrorName(error)));
}

void cuda_check_launch(const char* kernel, std::source_location where) {
  cuda_check(cudaGetLastError(), kernel, where);
}

int cuda_visible_devices() {
  const ThreadsWithoutSignals guard;
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string cuda_device_text(int index) {
  cudaDeviceProp properties{};
  cuda_check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  return fmt::format("{}, compute {}.{}, {} GiB", properties.name, properties.major,
                     properties.minor, properties.totalGlobalMem >> 30);
}

void cuda_select_device(int index) {
  const ThreadsWithoutSignals guard;
  cuda_check(cudaSetDevice(index), "cudaSetDevice");
}

void cuda_keep_open(int index) {
  const ThreadsWithoutSignals guard;
  cuda_select_device(index);
  cuda_check(cudaFree(nullptr), "cudaFree");  // the first call makes the context
}

std::string cuda_device_name() {
  int index = 0;
  cuda_check(cudaGetDevice(&index), "cudaGetDevice");
  cudaDeviceProp properties{};
  cuda_check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  return properties.name;
}

int cuda_multiprocessors() {
  static const int count = [] {
    int index = 0, value = 0;
    cuda_check(cudaGetDevice(&index), "cudaGetDevice");
    cuda_check(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, index),
               "cudaDeviceGetAttribute");
    return value;
  }();
  return count;
}

CudaStream cuda_stream() {
  static const CudaStream stream = [] {
    CudaStream made = nullptr;
    int least = 0, greatest = 0;
    cuda_check(cudaDeviceGetStreamPriorityRange(&least, &greatest),
               "cudaDeviceGetStreamPriorityRange");
    cuda_check(cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, greatest),
               "cudaStreamCreate");
    return made;
  }();
  return stream;
}

void cuda_synchronize() {
  cuda_check(cudaStreamSynchronize(cuda_stream()), "a computation on the GPU");
}

std::byte* cuda_allocate(std::size_t bytes) {
  void* memory = nullptr;
  bytes = std::max(align_up(bytes), kAlignment);
  const cudaError_t code = cudaMalloc(&memory, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the next call shall not see it
    std::size_t free = 0, total = 0;
    cuda_check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    fail(ErrorKind::internal, "cuda memory",
         "{} MiB were asked for, {} of {} MiB are free; lower the batch size, or train fewer runs "
         "at a time",
         bytes >> 20, free >> 20, total >> 20);
  }
  cuda_check(code, "cudaMalloc");
  cuda_fill(memory, 0, bytes);
  return static_cast<std::byte*>(memory);
}

void cuda_free(std::byte* memory) noexcept {
  cudaFree(memory);
}

std::size_t cuda_used_bytes() {
  std::size_t free = 0, total = 0;
  cuda_check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return total - free;
}

void cuda_fill(void* memory, int value, std::size_t bytes) {
  cuda_check(cudaMemsetAsync(memory, value, bytes, cuda_stream()), "cudaMemsetAsync");
}

void cuda_copy_to_device(void* to, const void* from, std::size_t bytes) {
  cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, cuda_stream()),
             "a copy to the GPU");
  cuda_synchronize();
}

void cuda_copy_to_host(void* to, const void* from, std::size_t bytes) {
  cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, cuda_stream()),
             "a copy from the GPU");
  cuda_synchronize();
}

}  // namespace recallbench
