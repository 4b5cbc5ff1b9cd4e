#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// One step of one replica as the GPU reads it: where its examples begin in the data on the GPU.
struct PlannedBatch {
  const std::int32_t* tokens;     ///< [count, L]
  const std::int32_t* positions;  ///< [count, n]
  const std::int32_t* targets;    ///< [count, n]
  const float* weights;           ///< [count, n]
  std::int32_t count;             ///< examples; the batch is padded to B
};

/// All that changes from step to step, in the GPU's memory: captured work has no other arguments.
struct StepState {
  std::uint32_t step;   ///< optimizer steps done
  std::int32_t cursor;  ///< steps of the plan done
};

/// A batch of R replicas in the GPU's memory: what the operations read.
struct BatchBuffers {
  Index replicas, examples, length, labels;  ///< R, B, L, n
  std::int32_t *tokens, *positions, *targets;
  float* weights;
};

/// Fills `buffers` from entry `cursor` of the plan [steps, R]; what is padded is 0, with weight 0.
/// Copies row `cursor` of `rows` [steps, row_numbers] to `row`, where there are any.
void feed_batch_cuda(const CudaCall& call, const PlannedBatch* plan, const StepState* state,
                     const BatchBuffers& buffers, const float* rows, Index row_numbers, float* row);

/// losses[cursor, r] = loss[r], then ++cursor and, where `optimized`, ++step.
void end_step_cuda(const CudaCall& call, StepState* state, const Batched<float>& loss,
                   float* losses, bool optimized);

/// kept[cursor, r, i] = correct[r, i]: before end_step. correct [R, M, 1].
void keep_correct_cuda(const CudaCall& call, const StepState* state, const Batched<float>& correct,
                       float* kept);

}  // namespace recallbench
