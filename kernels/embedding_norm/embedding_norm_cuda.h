#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of embedding_norm.h; `bias` is empty for RMSNorm. tokens [R, rows], table [R, V, D],
/// stream and normalised [R, rows, D]; `saved` [R, rows, 2] receives mean and 1 / sqrt(var + eps)
/// of each row.
void embedding_norm_forward_cuda(const CudaCall& call, std::uint32_t random_id, double p,
                                 const std::int32_t* tokens, const Batched<float>& table,
                                 const Batched<float>& weight, const Batched<float>& bias,
                                 double eps, const Batched<float>& stream,
                                 const Batched<float>& normalised, const Batched<float>& saved);

}  // namespace recallbench
