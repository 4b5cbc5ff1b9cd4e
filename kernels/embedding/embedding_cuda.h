#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of embedding.h. tokens [R, rows], table [R, V, D], y [R, rows, D].
void embedding_cuda(const CudaCall& call, const std::int32_t* tokens, const Batched<float>& table,
                    const Batched<float>& y);

/// Sorts the rows of the batch by token, for embedding_backward_cuda: work that needs nothing but
/// the tokens. `memory` holds token_sort_cuda_numbers(R, rows, V) numbers.
void sort_tokens_cuda(const CudaCall& call, const std::int32_t* tokens, Index replicas, Index rows,
                      Index vocab, float* memory);
/// Needs the GPU: the sort says how much it wants.
Index token_sort_cuda_numbers(Index replicas, Index rows, Index vocab);

/// A token's rows are added in the order of the batch, in pieces that the batch alone fixes.
/// `sorted` is what sort_tokens_cuda was given, `scratch` holds embedding_cuda_scratch(R, rows, D)
/// numbers.
void embedding_backward_cuda(const CudaCall& call, const float* sorted, const Batched<float>& dy,
                             const Gradient<float>& dtable, float* scratch);
Index embedding_cuda_scratch(Index replicas, Index rows, Index cols);

/// x [R, B length, D], table [R, P, D] with length <= P; y may share memory with x.
void add_positions_cuda(const CudaCall& call, Index length, const Batched<float>& x,
                        const Batched<float>& table, const Batched<float>& y);
/// Rows past `length` get a gradient of zero.
void add_positions_table_backward_cuda(const CudaCall& call, Index length, const Batched<float>& dy,
                                       const Gradient<float>& dtable);

}  // namespace recallbench
