#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// label_cross_entropy (label_cross_entropy.h) of all replicas, in a GPU's memory.
struct LabelCrossEntropyOnDevice {
  Batched<float> h, table;                 ///< [R, M, D], [R, V, D]
  const std::int32_t* targets;             ///< [R, M]
  const float* weights;                    ///< [R, M]
  Batched<float> loss, row_loss, correct;  ///< [R, 1, 1], [R, M, 1], [R, M, 1]
  Gradient<float> dh, dtable;              ///< where neither is wanted, none is computed
  float* scratch;                          ///< label_cross_entropy_cuda_scratch(R, M, V, D) numbers
};

/// row_loss, correct and dh. A row of weight 0 adds nothing to the loss, to dtable, and has dh = 0.
void label_cross_entropy_rows_cuda(const CudaCall& call, const LabelCrossEntropyOnDevice& a);
/// loss and dtable, which nothing on the way back through the model needs. It reads what the rows
/// left in the scratch.
void label_cross_entropy_sums_cuda(const CudaCall& call, const LabelCrossEntropyOnDevice& a);

Index label_cross_entropy_cuda_scratch(Index replicas, Index rows, Index vocab, Index cols);

}  // namespace recallbench
