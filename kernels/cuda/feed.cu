// A few hundred kilobytes each: what counts is one launch apiece, not bandwidth.
#include <algorithm>

#include "kernels/cuda/feed.h"
#include "kernels/cuda/launch.cuh"

namespace recallbench {
namespace {

constexpr unsigned kThreads = 256;

unsigned blocks_for(Index count) {
  return static_cast<unsigned>((count + kThreads - 1) / kThreads);
}

template <class T>
__device__ void copy_padded(const T* from, Index filled, T* to, Index i) {
  to[i] = i < filled ? from[i] : T(0);
}

__global__ void feed_batch(const PlannedBatch* plan, const StepState* state, BatchBuffers b,
                           const float* rows, Index row_numbers, float* row) {
  after_previous();
  const Index r = blockIdx.y, i = blockIdx.x * Index{kThreads} + threadIdx.x;
  const PlannedBatch batch = plan[state->cursor * b.replicas + r];
  const Index tokens = b.examples * b.length, labels = b.examples * b.labels;
  if (i < tokens) copy_padded(batch.tokens, batch.count * b.length, b.tokens + r * tokens, i);
  if (i < labels) {
    const Index filled = batch.count * b.labels;
    copy_padded(batch.positions, filled, b.positions + r * labels, i);
    copy_padded(batch.targets, filled, b.targets + r * labels, i);
    copy_padded(batch.weights, filled, b.weights + r * labels, i);
  }
  if (r == 0 && i < row_numbers) row[i] = rows[state->cursor * row_numbers + i];
}

__global__ void end_step(StepState* state, Batched<float> loss, float* losses, bool optimized) {
  after_previous();
  for (Index r = threadIdx.x; r < loss.replicas; r += blockDim.x)
    losses[state->cursor * loss.replicas + r] = loss.data[r * loss.replica_stride];
  __syncthreads();
  if (threadIdx.x != 0) return;
  ++state->cursor;
  if (optimized) ++state->step;
}

__global__ void keep_correct(const StepState* state, Batched<float> correct, float* kept) {
  after_previous();
  const Index i = blockIdx.x * Index{kThreads} + threadIdx.x, r = blockIdx.y;
  if (i >= correct.rows) return;
  kept[(state->cursor * correct.replicas + r) * correct.rows + i] =
      correct.data[r * correct.replica_stride + i * correct.stride];
}

}  // namespace

void feed_batch_cuda(const CudaCall& call, const PlannedBatch* plan, const StepState* state,
                     const BatchBuffers& buffers, const float* rows, Index row_numbers,
                     float* row) {
  const Index most =
      std::max({buffers.examples * buffers.length, buffers.examples * buffers.labels, row_numbers});
  const dim3 blocks(blocks_for(most), static_cast<unsigned>(buffers.replicas));
  cuda_launch("feed_batch", feed_batch, {blocks, kThreads, 0, call.stream}, plan, state, buffers,
              rows, row_numbers, row);
}

void end_step_cuda(const CudaCall& call, StepState* state, const Batched<float>& loss,
                   float* losses, bool optimized) {
  cuda_launch("end_step", end_step, {1, 32, 0, call.stream}, state, loss, losses, optimized);
}

void keep_correct_cuda(const CudaCall& call, const StepState* state, const Batched<float>& correct,
                       float* kept) {
  const dim3 blocks(blocks_for(correct.rows), static_cast<unsigned>(correct.replicas));
  cuda_launch("keep_correct", keep_correct, {blocks, kThreads, 0, call.stream}, state, correct,
              kept);
}

}  // namespace recallbench
