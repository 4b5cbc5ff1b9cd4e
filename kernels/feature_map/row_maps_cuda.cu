// Maps of whole rows: `exponential_features`, `softmax_features`. A row is the work of 8, 16 or 32
// neighbouring lanes, whose sums run over their own columns and then in a tree. Rows are read again
// for each pass from the first-level cache, so memory sees every number once: x, p and dy read, y
// or the gradients written. Floor: those bytes.
#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/feature_map/elements_cuda.cuh"
#include "kernels/feature_map/feature_map_cuda.h"

namespace recallbench {
namespace {

constexpr float kFloor = 1e-12f;
constexpr int kThreads = 256;

/// body.row<Width>(replica, row, lane of the row, valid): all lanes call, for the sums; only valid
/// ones may write. Lanes beyond the last row compute it again.
template <int Width, class Body>
__global__ void for_rows(Index rows, Body body) {
  after_previous();
  const Index i = blockIdx.x * Index{kThreads / Width} + threadIdx.x / Width;
  body.template row<Width>(blockIdx.y, min(i, rows - 1), threadIdx.x % Width, i < rows);
}

template <int Width, class Body>
void launch_rows(CudaStream stream, const char* name, const Batched<float>& like,
                 const Body& body) {
  cuda_launch(name, for_rows<Width, Body>,
              {blocks_of_rows(like.rows, kThreads / Width, like.replicas), kThreads, 0, stream},
              like.rows, body);
}

/// `cols`: of the widest tensor.
template <class Body>
void launch_for_rows(CudaStream stream, const char* name, const Batched<float>& like, Index cols,
                     const Body& body) {
  if (cols <= 8)
    launch_rows<8>(stream, name, like, body);
  else if (cols <= 16)
    launch_rows<16>(stream, name, like, body);
  else
    launch_rows<32>(stream, name, like, body);
}

struct ExponentialForward {
  bool less_maximum;
  float a, factor;
  Batched<float> x, p, y;

  template <int Width>
  __device__ void row(Index r, Index i, int lane, bool valid) const {
    const float* from = place_of(p, r, i);
    float shift;
    if (less_maximum) {
      float largest = from[0];
      for (int j = lane; j < p.cols; j += Width)
        largest = fmaxf(largest, from[j]);
      shift = a * warp_max<Width>(largest);
    } else {
      float sum = 0;
      for (int c = lane; c < x.cols; c += Width)
        sum += place_of(x, r, i)[c] * place_of(x, r, i)[c];
      shift = a * a / 2 * warp_sum<Width>(sum);
    }
    if (!valid) return;
    for (int j = lane; j < p.cols; j += Width)
      place_of(y, r, i)[j] = expf(from[j] * a - shift) * factor;
  }
};

/// With e = dy ⊙ y: dp = a e and dx = -a² (Σ e) x; less the maximum: dp = a (e - Σ e at the
/// first of the largest), dx = 0.
struct ExponentialBackward {
  bool less_maximum;
  float a;
  Batched<float> x, p, y, dy;
  Gradient<float> dx, dp;

  template <int Width>
  __device__ void row(Index r, Index i, int lane, bool valid) const {
    const float *from = place_of(p, r, i), *value = place_of(y, r, i), *d = place_of(dy, r, i);
    float sum = 0, largest = from[0];
    int at = 0;
    for (int j = lane; j < p.cols; j += Width) {
      sum += value[j] * d[j];
      if (from[j] > largest) largest = from[j], at = j;
    }
    sum = warp_sum<Width>(sum);
#pragma unroll
    for (int offset = Width / 2; offset > 0; offset /= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, largest, offset);
      const int place = __shfl_xor_sync(0xffffffffu, at, offset);
      if (other > largest || (other == largest && place < at)) largest = other, at = place;
    }
    if (!valid) return;
    if (dp.wanted)
      for (int j = lane; j < p.cols; j += Width)
        write_gradient(dp, r, i, j, a * (value[j] * d[j] - (less_maximum && j == at ? sum : 0)));
    if (dx.wanted)
      for (int c = lane; c < x.cols; c += Width)
        write_gradient(dx, r, i, c, place_of(x, r, i)[c] * (less_maximum ? 0 : -a * a * sum));
  }
};

struct SoftmaxForward {
  float scale;
  bool jointly;
  Batched<float> x, y;

  template <int Width>
  __device__ void row(Index r, Index i, int lane, bool valid) const {
    const float* from = place_of(x, r, i);
    float top = from[0] * scale, lowest = -top;
    for (int c = lane; c < x.cols; c += Width) {
      top = fmaxf(top, from[c] * scale);
      lowest = fmaxf(lowest, -from[c] * scale);
    }
    top = warp_max<Width>(top);
    lowest = warp_max<Width>(lowest);
    if (jointly) top = lowest = fmaxf(top, lowest);
    float plus = 0, minus = 0;
    for (int c = lane; c < x.cols; c += Width) {
      plus += expf(from[c] * scale - top);
      minus += expf(-from[c] * scale - lowest);
    }
    plus = warp_sum<Width>(plus);
    minus = warp_sum<Width>(minus);
    if (jointly) plus = minus = plus + minus;
    if (!valid) return;
    for (int c = lane; c < x.cols; c += Width) {
      write(r, i, c, expf(from[c] * scale - top) * (1 / plus));
      write(r, i, x.cols + c, expf(-from[c] * scale - lowest) * (1 / minus));
    }
  }

  __device__ void write(Index r, Index i, Index c, float value) const {
    place_of(y, r, i)[c] = !jointly && value < kFloor ? kFloor : value;
  }
};

/// A softmax s has dz = s ⊙ (ds - <s, ds>). Numbers at the floor have ds = 0.
struct SoftmaxBackward {
  float scale;
  bool jointly;
  Batched<float> y, dy;
  Gradient<float> dx;

  template <int Width>
  __device__ void row(Index r, Index i, int lane, bool valid) const {
    const Index f = y.cols / 2;
    float plus = 0, minus = 0;
    for (Index c = lane; c < f; c += Width) {
      plus += product(r, i, c);
      minus += product(r, i, f + c);
    }
    plus = warp_sum<Width>(plus);
    minus = warp_sum<Width>(minus);
    if (jointly) plus = minus = plus + minus;
    if (!valid) return;
    const float* s = place_of(y, r, i);
    for (Index c = lane; c < f; c += Width)
      write_gradient(
          dx, r, i, c,
          ((product(r, i, c) - s[c] * plus) - (product(r, i, f + c) - s[f + c] * minus)) * scale);
  }

  __device__ float product(Index r, Index i, Index c) const {
    const float s = place_of(y, r, i)[c];
    return !jointly && s <= kFloor ? 0 : s * place_of(dy, r, i)[c];
  }
};

float root_scale(const Batched<float>& x) {
  return static_cast<float>(std::pow(static_cast<double>(x.cols), -0.25));
}

}  // namespace

void exponential_features_cuda(const CudaCall& call, bool less_maximum, const Batched<float>& x,
                               const Batched<float>& p, const Batched<float>& y) {
  const float factor = static_cast<float>(1 / std::sqrt(static_cast<double>(p.cols)));
  launch_for_rows(call.stream, "exponential_features", y, p.cols,
                  ExponentialForward{less_maximum, root_scale(x), factor, x, p, y});
}

void exponential_features_backward_cuda(const CudaCall& call, bool less_maximum,
                                        const Batched<float>& x, const Batched<float>& p,
                                        const Batched<float>& y, const Batched<float>& dy,
                                        const Gradient<float>& dx, const Gradient<float>& dp) {
  if (!dx.wanted && !dp.wanted) return;
  launch_for_rows(call.stream, "exponential_features_backward", y, p.cols,
                  ExponentialBackward{less_maximum, root_scale(x), x, p, y, dy, dx, dp});
}

void softmax_features_cuda(const CudaCall& call, float scale, bool jointly, const Batched<float>& x,
                           const Batched<float>& y) {
  launch_for_rows(call.stream, "softmax_features", y, x.cols, SoftmaxForward{scale, jointly, x, y});
}

void softmax_features_backward_cuda(const CudaCall& call, float scale, bool jointly,
                                    const Batched<float>& y, const Batched<float>& dy,
                                    const Gradient<float>& dx) {
  if (!dx.wanted) return;
  launch_for_rows(call.stream, "softmax_features_backward", y, y.cols / 2,
                  SoftmaxBackward{scale, jointly, y, dy, dx});
}

}  // namespace recallbench
