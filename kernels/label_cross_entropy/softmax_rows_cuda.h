#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Some rows of one replica's logits and what becomes of them.
struct SoftmaxRows {
  /// [rows, V]: 16-byte aligned, the stride a multiple of 4. Where `gradient`, each row becomes
  /// w / Σw · (softmax - onehot(target)).
  Matrix<float> logits;
  const std::int32_t* targets;  ///< [rows]
  const float* weights;         ///< [rows]
  const double* total;          ///< [1] on the GPU: Σw over all rows of the replica
  Matrix<float> row_loss;       ///< [rows, 1]
  Matrix<float> correct;        ///< [rows, 1]: 1 where the first largest logit is the target's
  bool gradient;
};

void softmax_rows_cuda(const CudaCall& call, const SoftmaxRows& a);

/// totals[r] = Σ_i weights[r, i], a replica's `rows` side by side; a fixed tree, in double.
void total_weights_cuda(const CudaCall& call, const float* weights, Index replicas, Index rows,
                        double* totals);

/// loss[r] = Σ_i weights[r, i] row_loss[r, i] / Σ_i weights[r, i], the same way; rows of weight 0
/// are left out.
void mean_loss_cuda(const CudaCall& call, const float* weights, const Batched<float>& row_loss,
                    const Batched<float>& loss);

}  // namespace recallbench
