#pragma once

#include "kernels/cuda/call.h"
#include "kernels/token_bonus/token_bonus_cpu.h"

namespace recallbench {

/// CUDA twins of token_bonus_cpu.h; backward's `scratch` holds token_bonus_cuda_scratch(R, rows, D)
/// numbers.
void token_bonus_forward_cuda(const CudaCall& call, const TokenBonusViews<float>& in,
                              const Batched<float>& y);
void token_bonus_backward_cuda(const CudaCall& call, const TokenBonusViews<float>& in,
                               const Batched<float>& dy, const TokenBonusGradients<float>& out,
                               float* scratch);
Index token_bonus_cuda_scratch(Index replicas, Index rows, Index cols);

}  // namespace recallbench
