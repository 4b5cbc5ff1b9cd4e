#pragma once

#include "kernels/cuda/call.h"
#include "kernels/ttt/ttt_cpu.h"

namespace recallbench {

/// CUDA twins of ttt_cpu.h. `models` [R, B, chunks, H · ttt_cuda_model_numbers] keeps the inner
/// models before each mini-batch, which backward reads; forward needs no data there where nothing
/// is kept. `scratch` holds what the functions below say.
void ttt_forward_cuda(const CudaCall& call, const TttSize& size, const TttViews<float>& in,
                      const Batched<float>& models, const Batched<float>& o, float* scratch);
void ttt_backward_cuda(const CudaCall& call, const TttSize& size, const TttViews<float>& in,
                       const Batched<float>& models, const Batched<float>& d_o,
                       const TttGradients<float>& gradients, float* scratch);

/// Numbers of one head's inner model as it is kept.
Index ttt_cuda_model_numbers(const TttSize& size);
Index ttt_forward_cuda_scratch(const TttSize& size, Index replicas);
Index ttt_backward_cuda_scratch(const TttSize& size, Index replicas);

}  // namespace recallbench
