#include "leaky_average_cuda.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/runtime.h"

namespace {

using namespace recallbench;

constexpr int kThreads = 128;

__device__ float* place(const Batched<float>& v, Index replica, Index row, Index col) {
  return v.data + replica * v.replica_stride + row * v.stride + col;
}

/// A thread walks one channel of one example, blockIdx.y, of a replica, blockIdx.z.
__global__ void walk(Index length, Batched<float> x, Batched<float> a, Batched<float> h) {
  after_previous();
  const Index c = blockIdx.x * Index{kThreads} + threadIdx.x, r = blockIdx.z;
  if (c >= x.cols) return;
  const float decay = *place(a, r, 0, c);
  float sum = 0;
  for (Index i = blockIdx.y * length; i < (blockIdx.y + 1) * length; ++i) {
    sum = decay * sum + (1 - decay) * *place(x, r, i, c);
    *place(h, r, i, c) = sum;
  }
}

/// The same backwards; parts [R, B, D] gets each example's share of da.
__global__ void walk_back(Index length, Batched<float> x, Batched<float> a, Batched<float> h,
                          Batched<float> dh, Gradient<float> dx, float* parts) {
  after_previous();
  const Index c = blockIdx.x * Index{kThreads} + threadIdx.x, r = blockIdx.z;
  if (c >= x.cols) return;
  const Index first = blockIdx.y * length;
  const float decay = *place(a, r, 0, c);
  float g = 0, da = 0;
  for (Index i = first + length; i-- > first;) {
    g = *place(dh, r, i, c) + decay * g;
    da += g * ((i == first ? 0.0f : *place(h, r, i - 1, c)) - *place(x, r, i, c));
    if (!dx.wanted) continue;
    float* to = place(dx.view, r, i, c);
    *to = (dx.accumulate ? *to : 0.0f) + (1 - decay) * g;
  }
  parts[(r * gridDim.y + blockIdx.y) * x.cols + c] = da;
}

dim3 blocks(Index length, const Batched<float>& x) {
  return dim3(static_cast<unsigned>((x.cols + kThreads - 1) / kThreads),
              static_cast<unsigned>(x.rows / length), static_cast<unsigned>(x.replicas));
}

}  // namespace

void leaky_average_cuda(const CudaCall& call, Index length, const Batched<float>& x,
                        const Batched<float>& a, const Batched<float>& h) {
  cuda_launch("leaky_average", walk, {blocks(length, x), kThreads, 0, call.stream}, length, x, a,
              h);
}

void leaky_average_backward_cuda(const CudaCall& call, Index length, const Batched<float>& x,
                                 const Batched<float>& a, const Batched<float>& h,
                                 const Batched<float>& dh, const Gradient<float>& dx,
                                 const Gradient<float>& da, float* scratch) {
  cuda_launch("leaky_average_backward", walk_back, {blocks(length, x), kThreads, 0, call.stream},
              length, x, a, h, dh, dx, scratch);
  if (da.wanted) sum_slices_cuda(call, scratch, x.rows / length, x.cols, da);
}
