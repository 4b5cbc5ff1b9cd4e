#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"
#include "mixers/nsa/sparse_size.h"

namespace recallbench {

/// CUDA twins of sparse_cpu.h, all replicas at once. Rows of x are `length` an example.
void block_rows_cuda(const CudaCall& call, const Batched<float>& x, Index length,
                     const Batched<float>& places, Index block, const Batched<float>& y);
/// `scratch` holds block_rows_scratch(R, rows of dy, its columns) numbers.
void block_rows_backward_cuda(const CudaCall& call, const Batched<float>& dy, Index length,
                              Index block, Index heads, const Gradient<float>& dx,
                              const Gradient<float>& dplaces, float* scratch);
Index block_rows_scratch(Index replicas, Index rows, Index cols);

/// y has `rows` rows an example.
void with_memory_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& memory,
                      Index rows, const Batched<float>& y);
void with_memory_backward_cuda(const CudaCall& call, const Batched<float>& dy, Index rows,
                               const Gradient<float>& dx, const Gradient<float>& dmemory);

/// What grouped_attention and choose_blocks read. size.at: of the first replica, the others' behind
/// it; `v` and `chosen` may be empty.
struct SparseInputs {
  SparseSize size;
  Batched<float> q, k, v, chosen;
};

void grouped_attention_cuda(const CudaCall& call, const SparseInputs& in, const Batched<float>& o);
/// `scratch` holds R · examples · queries · heads · 2 numbers.
void grouped_attention_backward_cuda(const CudaCall& call, const SparseInputs& in,
                                     const Batched<float>& d_o, const Gradient<float>& dq,
                                     const Gradient<float>& dk, const Gradient<float>& dv,
                                     float* scratch);

/// The CPU's choice among the same scores: float32 products in every precision, the earlier of
/// equal blocks. Scores themselves differ from the CPU's in their last bits, so that blocks that
/// are next to equal may be chosen differently; never by run or number of replicas.
void choose_blocks_cuda(const CudaCall& call, const SparseInputs& in, const Batched<float>& chosen);

/// Branches of combine_branches, and where their gradients go.
struct Branches {
  Batched<float> of[3];
};
struct BranchGradients {
  Gradient<float> of[3];
};
void combine_branches_cuda(const CudaCall& call, const Batched<float>& gates,
                           const Branches& branches, const Batched<float>& y);
void combine_branches_backward_cuda(const CudaCall& call, const Batched<float>& gates,
                                    const Branches& branches, const Batched<float>& dy,
                                    const Gradient<float>& dgates,
                                    const BranchGradients& dbranches);

}  // namespace recallbench
