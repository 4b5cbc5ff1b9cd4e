// Floor: a filter has as many numbers as one sequence (L = 256, C = 128: 0.1 MB), so a launch costs
// more than its memory. One launch a call, and enough blocks to hide the latency of a few loads.
#include "kernels/cuda/launch.cuh"
#include "mixers/hyena/filter_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 8, kRows = 64;  // of a block of sine_backward: 32 bytes of a row

__global__ void sine_forward(Batched<float> x, Batched<float> frequency, Batched<float> y) {
  after_previous();
  const Index i = blockIdx.x * Index{kThreads} + threadIdx.x, replica = blockIdx.y;
  if (i >= y.rows * y.cols) return;
  const Index row = i / y.cols, col = i % y.cols;
  y.data[replica * y.replica_stride + row * y.stride + col] =
      sinf(frequency.data[replica * frequency.replica_stride + col] *
           x.data[replica * x.replica_stride + row * x.stride + col]);
}

/// A thread takes rows threadIdx.y, threadIdx.y + kRows, ... of a column, whose sums of
/// dfrequency are added in order.
__global__ void __launch_bounds__(kColumns* kRows)
    sine_backward(Batched<float> x, Batched<float> frequency, Batched<float> dy, Gradient<float> dx,
                  Gradient<float> dfrequency) {
  after_previous();
  __shared__ float sums[kRows][kColumns];
  const Index col = blockIdx.x * Index{kColumns} + threadIdx.x, replica = blockIdx.y;
  float sum = 0;
  if (col < x.cols) {
    const float f = frequency.data[replica * frequency.replica_stride + col];
    for (Index row = threadIdx.y; row < x.rows; row += kRows) {
      const float from = x.data[replica * x.replica_stride + row * x.stride + col];
      const float d = dy.data[replica * dy.replica_stride + row * dy.stride + col];
      const float slope = d * cosf(f * from);
      sum += from * slope;
      if (!dx.wanted) continue;
      float* to = dx.view.data + replica * dx.view.replica_stride + row * dx.view.stride + col;
      *to = dx.accumulate ? *to + f * slope : f * slope;
    }
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || col >= x.cols || !dfrequency.wanted) return;
  for (int k = 1; k < kRows; ++k)
    sum += sums[k][threadIdx.x];
  float* to = dfrequency.view.data + replica * dfrequency.view.replica_stride + col;
  *to = dfrequency.accumulate ? *to + sum : sum;
}

__global__ void exponential_window(Batched<float> h, Batched<float> times, Batched<float> rates,
                                   float shift, Batched<float> y, bool accumulate) {
  after_previous();
  const Index i = blockIdx.x * Index{kThreads} + threadIdx.x, replica = blockIdx.y;
  if (i >= y.rows * y.cols) return;
  const Index row = i / y.cols, col = i % y.cols;
  const float time = times.data[replica * times.replica_stride + row * times.stride];
  const float rate = rates.data[replica * rates.replica_stride + col];
  const float value = h.data[replica * h.replica_stride + row * h.stride + col] *
                      (expf(-time * fabsf(rate)) + shift);
  float* to = y.data + replica * y.replica_stride + row * y.stride + col;
  *to = accumulate ? *to + value : value;
}

dim3 blocks_of(const Batched<float>& y) {
  return dim3(static_cast<unsigned>((y.rows * y.cols + kThreads - 1) / kThreads),
              static_cast<unsigned>(y.replicas));
}

}  // namespace

void sine_forward_cuda(const CudaCall& call, const Batched<float>& x,
                       const Batched<float>& frequency, const Batched<float>& y) {
  cuda_launch("sine_forward", sine_forward, {blocks_of(y), kThreads, 0, call.stream}, x, frequency,
              y);
}

void sine_backward_cuda(const CudaCall& call, const Batched<float>& x,
                        const Batched<float>& frequency, const Batched<float>& dy,
                        const Gradient<float>& dx, const Gradient<float>& dfrequency) {
  if (!dx.wanted && !dfrequency.wanted) return;
  const dim3 blocks(static_cast<unsigned>((x.cols + kColumns - 1) / kColumns),
                    static_cast<unsigned>(x.replicas));
  cuda_launch("sine_backward", sine_backward, {blocks, dim3(kColumns, kRows), 0, call.stream}, x,
              frequency, dy, dx, dfrequency);
}

void exponential_window_cuda(const CudaCall& call, const Batched<float>& h,
                             const Batched<float>& times, const Batched<float>& rates, double shift,
                             const Gradient<float>& y) {
  if (!y.wanted) return;
  cuda_launch("exponential_window", exponential_window,
              {blocks_of(y.view), kThreads, 0, call.stream}, h, times, rates,
              static_cast<float>(shift), y.view, y.accumulate);
}

}  // namespace recallbench
