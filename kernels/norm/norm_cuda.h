#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of norm_cpu.h.
void norm_forward_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& weight,
                       const Batched<float>& bias, double eps, const Batched<float>& y,
                       const Batched<float>& saved);
/// `scratch` holds norm_cuda_scratch(R, rows, D) numbers.
void norm_backward_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& weight,
                        const Batched<float>& saved, const Batched<float>& dy, bool centred,
                        const Gradient<float>& dx, const Gradient<float>& dweight,
                        const Gradient<float>& dbias, float* scratch);

Index norm_cuda_scratch(Index replicas, Index rows, Index cols);

/// Rows whose parameter gradients a block adds up, and how many such chunks a replica has.
Index norm_chunk_rows(Index rows);
Index norm_chunks(Index rows);
/// dweight and dbias from each chunk's share, parts [R, chunks, 2, D], chunks in a fixed order.
void add_norm_parts_cuda(const CudaCall& call, const float* parts, Index chunks,
                         const Gradient<float>& dweight, const Gradient<float>& dbias);

}  // namespace recallbench
