#pragma once

#include "kernels/cuda/call.h"
#include "kernels/wkv/wkv_cpu.h"

namespace recallbench {

/// States that forward keeps for backward: one every few tokens of an example but the first, which
/// may be none at all; 3 C numbers each.
Index wkv_kept_states(const WkvSize& size);

/// CUDA twins of wkv. `states` [R, B, wkv_kept_states, 3 C] is written where it has memory.
void wkv_forward_cuda(const CudaCall& call, const WkvSize& size, const WkvViews<float>& in,
                      const Batched<float>& y, const Batched<float>& states);
/// `scratch` holds wkv_cuda_scratch numbers.
void wkv_backward_cuda(const CudaCall& call, const WkvSize& size, const WkvViews<float>& in,
                       const Batched<float>& states, const Batched<float>& dy,
                       const WkvGradients<float>& out, float* scratch);
/// Shares of the examples in dtime_decay and dtime_first.
Index wkv_cuda_scratch(Index replicas, const WkvSize& size);

}  // namespace recallbench
