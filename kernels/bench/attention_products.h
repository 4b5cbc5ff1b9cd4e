#pragma once

#include "kernels/matmul/gemm.h"
#include "kernels/tensor/arena.h"

namespace recallbench {

/// The matrix products of softmax attention and nothing else, no mask: the yardstick of every
/// recurrence in chunks. Q, K, V and O are [B, L, D], S and P [B, L, L].
class AttentionProducts {
 public:
  AttentionProducts(Device device, Precision precision, Index batch, Index length, Index width);

  /// S = Q Kᵀ and O = P V, on a GPU enqueued.
  void forward();
  /// dV = Pᵀ dO, dP = dO Vᵀ, dQ = dS K, dK = dSᵀ Q, likewise.
  void backward();
  /// FLOPs of forward; backward has twice as many.
  double flops() const;

 private:
  /// One [B, rows, cols] in memory.
  struct Operand {
    float* data;
    Index rows, cols;
  };
  void multiply(Transpose ta, Transpose tb, const Operand& a, const Operand& b, const Operand& c);

  [[maybe_unused]] Precision precision_;  // builds without CUDA know fp32 alone
  Index batch_, length_, width_;
  Arena memory_;
  Operand rows_[4], out_[3], square_[2];  // Q K V dO, gradients of Q K V (O is dQ's), S and P
};

}  // namespace recallbench
