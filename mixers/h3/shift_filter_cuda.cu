// Floor: a filter has as many numbers as one sequence, so a launch costs more than its memory and
// its arithmetic (D = 128, N = 16: 16k products). A block is a channel, a thread a tap or a state.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numbers.cuh"
#include "mixers/h3/filters_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 64;

/// A block's channel.
struct Channel {
  Index replica, channel;
  __device__ explicit Channel(Index channels)
      : replica(blockIdx.x / channels), channel(blockIdx.x % channels) {}
  __device__ const float* row(const Batched<float>& m) const {
    return m.data + replica * m.replica_stride + channel * m.stride;
  }
};

__global__ void shift_filter(Batched<float> b, Batched<float> c, Batched<float> d,
                             Batched<float> filter) {
  after_previous();
  const Channel at(filter.cols);
  const float *bs = at.row(b), *cs = at.row(c);
  float* to = filter.data + at.replica * filter.replica_stride + at.channel;
  for (Index l = threadIdx.x; l < filter.rows; l += kThreads) {
    float sum = 0;
    for (Index m = 0; m < b.cols - l; ++m)
      sum += bs[m] * cs[m + l];
    if (l == 0) sum += d.data[at.replica * d.replica_stride + at.channel];
    to[l * filter.stride] = sum;
  }
}

__global__ void shift_filter_backward(Batched<float> b, Batched<float> c, Batched<float> dfilter,
                                      Gradient<float> db, Gradient<float> dc, Gradient<float> dd) {
  after_previous();
  const Channel at(dfilter.cols);
  const float *bs = at.row(b), *cs = at.row(c);
  const float* taps = dfilter.data + at.replica * dfilter.replica_stride + at.channel;
  if (threadIdx.x == 0) write_gradient(dd, at.replica, 0, at.channel, taps[0]);
  for (Index m = threadIdx.x; m < b.cols; m += kThreads) {
    float to_b = 0, to_c = 0;
    for (Index l = 0; l < dfilter.rows; ++l) {
      const float tap = taps[l * dfilter.stride];
      if (m + l < b.cols) to_b += tap * cs[m + l];
      if (m >= l) to_c += tap * bs[m - l];
    }
    write_gradient(db, at.replica, at.channel, m, to_b);
    write_gradient(dc, at.replica, at.channel, m, to_c);
  }
}

}  // namespace

void shift_ssm_filter_cuda(const CudaCall& call, const Batched<float>& b, const Batched<float>& c,
                           const Batched<float>& d, const Batched<float>& filter) {
  const auto blocks = static_cast<unsigned>(filter.replicas * filter.cols);
  cuda_launch("shift_ssm_filter", shift_filter, {blocks, kThreads, 0, call.stream}, b, c, d,
              filter);
}

void shift_ssm_filter_backward_cuda(const CudaCall& call, const Batched<float>& b,
                                    const Batched<float>& c, const Batched<float>& dfilter,
                                    const Gradient<float>& db, const Gradient<float>& dc,
                                    const Gradient<float>& dd) {
  if (!db.wanted && !dc.wanted && !dd.wanted) return;
  const auto blocks = static_cast<unsigned>(dfilter.replicas * dfilter.cols);
  cuda_launch("shift_ssm_filter_backward", shift_filter_backward,
              {blocks, kThreads, 0, call.stream}, b, c, dfilter, db, dc, dd);
}

}  // namespace recallbench
