#pragma once

#include "kernels/cuda/call.h"
#include "kernels/matmul/gemm.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// A batch of row-major matrices in a GPU's memory, `batch_stride` numbers apart. float32, or with
/// `bf16` bfloat16.
struct GemmOperand {
  const void* data;
  Index rows, cols, stride, batch_stride;
  bool bf16 = false;
};

inline GemmOperand gemm_operand(const Batched<float>& m) {
  return {m.data, m.rows, m.cols, m.stride, m.replica_stride};
}

struct GemmProduct {
  Transpose ta = Transpose::no, tb = Transpose::no;
  float alpha = 1;
  GemmOperand a, b;
  bool accumulate = false;  ///< c += instead of c =
  float* c;                 ///< [batch, m, n] float32
  Index c_stride, c_batch_stride;
  Index batch;
  const float* bias = nullptr;  ///< [batch, n], added to every row
  Index bias_batch_stride = 0;
};

/// c = alpha · op(a) · op(b) + bias for every matrix of the batch, by cuBLASLt, in one call. The
/// algorithm follows from the sizes of one matrix of the batch alone and never splits the inner
/// sum, so a matrix has the same bits in every batch. float32 operands are rounded as
/// `call.precision` says; bfloat16 operands (both or none) multiply exactly, sums are float32.
void gemm_cuda(const CudaCall& call, const GemmProduct& product);

}  // namespace recallbench
