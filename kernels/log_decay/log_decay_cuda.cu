// Floor: a launch; a number for each token and head is little (B = 256, L = 256, H = 4: 1 MB).
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/log_decay/log_decay_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256;
constexpr Index kChunkRows = 1024;  // of a block of backward

Index chunks_of(Index rows) {
  return (rows + kChunkRows - 1) / kChunkRows;
}

__device__ float rate(const Batched<float>& a_log, Index replica, Index head) {
  return -expf(a_log.data[replica * a_log.replica_stride + head]);
}

struct Decay {
  Batched<float> a_log;
  template <int kVec>
  __device__ void operator()(int replica, Index element, const float (&dt)[kVec],
                             const float (&)[kVec], float (&g)[kVec]) const {
    const auto heads = static_cast<std::uint32_t>(a_log.cols);
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      g[k] = rate(a_log, replica, static_cast<std::uint32_t>(element + k) % heads) * dt[k];
  }
};

/// A block has one head's numbers of a chunk of rows: ddt = -exp(a_log) dg, and Σ dg ⊙ g to
/// parts [R, chunks, H].
__global__ void __launch_bounds__(kThreads)
    log_decay_backward(Batched<float> a_log, Batched<float> g, Batched<float> dg,
                       Gradient<float> ddt, float* parts) {
  after_previous();
  __shared__ float sums[kThreads / 32];
  const Index replica = blockIdx.y, head = blockIdx.x % g.cols, chunk = blockIdx.x / g.cols;
  const Index first = chunk * kChunkRows, last = min(first + kChunkRows, g.rows);
  const float factor = rate(a_log, replica, head);
  float sum = 0;
  for (Index i = first + threadIdx.x; i < last; i += kThreads) {
    const float gradient = dg.data[replica * dg.replica_stride + i * dg.stride + head];
    sum += gradient * g.data[replica * g.replica_stride + i * g.stride + head];
    if (!ddt.wanted) continue;
    float* place = ddt.view.data + replica * ddt.view.replica_stride + i * ddt.view.stride + head;
    *place = ddt.accumulate ? *place + factor * gradient : factor * gradient;
  }
  sum = block_sum<kThreads>(sum, sums);
  if (threadIdx.x == 0) parts[replica * gridDim.x + blockIdx.x] = sum;
}

}  // namespace

Index log_decay_cuda_scratch(Index replicas, Index rows, Index heads) {
  return replicas * chunks_of(rows) * heads;
}

void log_decay_forward_cuda(const CudaCall& call, const Batched<float>& dt,
                            const Batched<float>& a_log, const Batched<float>& g) {
  map_elements_cuda(call, "log_decay_forward", dt, {}, {g, true, false}, Decay{a_log});
}

void log_decay_backward_cuda(const CudaCall& call, const Batched<float>& a_log,
                             const Batched<float>& g, const Batched<float>& dg,
                             const Gradient<float>& ddt, const Gradient<float>& da_log,
                             float* scratch) {
  const Index chunks = chunks_of(g.rows);
  const dim3 blocks(static_cast<unsigned>(chunks * g.cols), static_cast<unsigned>(g.replicas));
  cuda_launch("log_decay_backward", log_decay_backward, {blocks, kThreads, 0, call.stream}, a_log,
              g, dg, ddt, scratch);
  sum_partials_cuda(call, g.replicas, {scratch, chunks, g.cols, 0, da_log, {}});
}

}  // namespace recallbench
