// One block takes one row of logits. Floor for a row of V logits: V float32 read, and V written
// where gradients are wanted. A row of up to kHeldVocab logits is read once and held in registers
// until it is written; the chunk is small enough to come from the L2. A longer row is read three
// times.

#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/label_cross_entropy/block_total.cuh"
#include "kernels/label_cross_entropy/softmax_rows_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256;
constexpr int kQuads = 8;  // float4 of a row that a thread holds
constexpr Index kHeldVocab = Index{4} * kQuads * kThreads;
constexpr int kSumThreads = 1024;

/// A row as quads of logits; those past the vocabulary read -inf.
template <bool kHeld>
class Row {
 public:
  __device__ Row(float* data, int vocab)
      : data_(reinterpret_cast<float4*>(data)), vocab_(vocab), quads_((vocab + 3) / 4) {}

  /// f(first column, the quad) for each quad of this thread; f may change it. Where `store`, the
  /// quad goes back to memory, without what lies past the vocabulary.
  template <class F>
  __device__ void each(bool store, const F& f) {
    if constexpr (kHeld) {
#pragma unroll
      for (int k = 0; k < kQuads; ++k)
        step(static_cast<int>(threadIdx.x) + k * kThreads, held_[k], store, f);
    } else {
      for (int q = threadIdx.x; q < quads_; q += kThreads) {
        float4 quad = load(q);
        step(q, quad, store, f);
      }
    }
  }
  __device__ void read() {
    if constexpr (kHeld) {
#pragma unroll
      for (int k = 0; k < kQuads; ++k) {
        const int q = static_cast<int>(threadIdx.x) + k * kThreads;
        held_[k] = q < quads_ ? load(q) : make_float4(0, 0, 0, 0);
      }
    }
  }

 private:
  __device__ float4 load(int q) const {
    float4 quad = data_[q];
    const int left = vocab_ - 4 * q;
    if (left < 4) quad.w = -INFINITY;
    if (left < 3) quad.z = -INFINITY;
    if (left < 2) quad.y = -INFINITY;
    return quad;
  }
  /// The padding of the stride may be written: nothing else lives there.
  template <class F>
  __device__ void step(int q, float4& quad, bool store, const F& f) {
    if (q >= quads_) return;
    f(4 * q, quad);
    if (store) data_[q] = quad;
  }

  float4* data_;
  int vocab_, quads_;
  float4 held_[kHeld ? kQuads : 1];
};

template <bool kHeld>
__global__ void __launch_bounds__(kThreads) softmax_rows(SoftmaxRows a) {
  after_previous();
  __shared__ float shared[kThreads / 32];
  const Index i = blockIdx.x;
  float* logits = a.logits.data + i * a.logits.stride;
  const int target = a.targets[i];
  const float of_target = logits[target];
  Row<kHeld> row(logits, static_cast<int>(a.logits.cols));
  row.read();

  float largest = -INFINITY;
  row.each(false, [&](int, const float4& x) {
    largest = fmaxf(fmaxf(fmaxf(largest, x.x), fmaxf(x.y, x.z)), x.w);
  });
  largest = block_max<kThreads>(largest, shared);

  float sum = 0;
  bool earlier = false;  // an equally large logit before the target's
  row.each(false, [&](int v, float4& x) {
    earlier |= (x.x == largest && v < target) || (x.y == largest && v + 1 < target) ||
               (x.z == largest && v + 2 < target) || (x.w == largest && v + 3 < target);
    x = make_float4(expf(x.x - largest), expf(x.y - largest), expf(x.z - largest),
                    expf(x.w - largest));
    sum += (x.x + x.y) + (x.z + x.w);
  });
  sum = block_sum<kThreads>(sum, shared);
  earlier = __syncthreads_or(earlier);
  if (threadIdx.x == 0) {
    a.row_loss.data[i * a.row_loss.stride] = logf(sum) + (largest - of_target);
    a.correct.data[i * a.correct.stride] = of_target == largest && !earlier ? 1.0f : 0.0f;
  }
  if (!a.gradient) return;

  const float weight = a.weights[i];
  const float scale = static_cast<float>(weight / *a.total), factor = scale / sum;
  row.each(true, [&](int v, float4& x) {
    if (weight == 0) {
      x = make_float4(0, 0, 0, 0);
      return;
    }
    if constexpr (!kHeld)
      x = make_float4(expf(x.x - largest), expf(x.y - largest), expf(x.z - largest),
                      expf(x.w - largest));
    x = make_float4(x.x * factor, x.y * factor, x.z * factor, x.w * factor);
    if (v == target) x.x -= scale;
    if (v + 1 == target) x.y -= scale;
    if (v + 2 == target) x.z -= scale;
    if (v + 3 == target) x.w -= scale;
  });
}

__global__ void __launch_bounds__(kSumThreads)
    total_weights(const float* weights, Index rows, double* totals) {
  after_previous();
  const double total = total_weight<kSumThreads>(weights + blockIdx.x * rows, rows);
  if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

__global__ void __launch_bounds__(kSumThreads)
    mean_loss(const float* weights, Batched<float> row_loss, Batched<float> loss) {
  after_previous();
  const Index r = blockIdx.x, rows = row_loss.rows;
  const float* losses = row_loss.data + r * row_loss.replica_stride;
  weights += r * rows;
  double sum = 0, total = 0;
#pragma unroll 8
  for (Index i = threadIdx.x; i < rows; i += kSumThreads) {
    const float weight = weights[i], of_row = losses[i * row_loss.stride];
    sum += weight == 0 ? 0 : static_cast<double>(weight) * of_row;
    total += weight;
  }
  sum = block_total<kSumThreads>(sum);
  total = block_total<kSumThreads>(total);
  if (threadIdx.x == 0) loss.data[r * loss.replica_stride] = static_cast<float>(sum / total);
}

}  // namespace

void softmax_rows_cuda(const CudaCall& call, const SoftmaxRows& a) {
  const auto blocks = static_cast<unsigned>(a.logits.rows);
  if (a.logits.cols <= kHeldVocab)
    cuda_launch("softmax_rows", softmax_rows<true>, {blocks, kThreads, 0, call.stream}, a);
  else
    cuda_launch("softmax_rows", softmax_rows<false>, {blocks, kThreads, 0, call.stream}, a);
}

void total_weights_cuda(const CudaCall& call, const float* weights, Index replicas, Index rows,
                        double* totals) {
  cuda_launch("total_weights", total_weights,
              {static_cast<unsigned>(replicas), kSumThreads, 0, call.stream}, weights, rows,
              totals);
}

void mean_loss_cuda(const CudaCall& call, const float* weights, const Batched<float>& row_loss,
                    const Batched<float>& loss) {
  cuda_launch("mean_loss", mean_loss,
              {static_cast<unsigned>(loss.replicas), kSumThreads, 0, call.stream}, weights,
              row_loss, loss);
}

}  // namespace recallbench
