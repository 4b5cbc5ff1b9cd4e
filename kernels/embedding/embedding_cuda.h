#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of embedding.h. tokens [R, rows], table [R, V, D], y [R, rows, D].
void embedding_cuda(const CudaCall& call, const std::int32_t* tokens, const Batched<float>& table,
                    const Batched<float>& y);
/// A token's rows are added in the order of the batch, in pieces that the batch alone fixes.
/// `scratch` holds embedding_cuda_scratch(R, rows, V, D) numbers.
void embedding_backward_cuda(const CudaCall& call, const std::int32_t* tokens,
                             const Batched<float>& dy, const Gradient<float>& dtable,
                             float* scratch);
/// Needs the GPU: the sort says how much it wants.
Index embedding_cuda_scratch(Index replicas, Index rows, Index vocab, Index cols);

/// x [R, B length, D], table [R, P, D] with length <= P; y may share memory with x.
void add_positions_cuda(const CudaCall& call, Index length, const Batched<float>& x,
                        const Batched<float>& table, const Batched<float>& y);
/// Rows past `length` get a gradient of zero.
void add_positions_table_backward_cuda(const CudaCall& call, Index length, const Batched<float>& dy,
                                       const Gradient<float>& dtable);

}  // namespace recallbench
