#pragma once

#include "kernels/cuda/call.h"
#include "kernels/rotary/rotary_cpu.h"

namespace recallbench {

/// What turns by which angle on a GPU. `rows.at` is [R, B, n] there.
struct RotaryCuda {
  RotaryRows rows;
  Batched<float> frequencies;  ///< [R, 1, pairs], or empty: θ^(-i / pairs)
  double theta;
};

/// CUDA twins of rotary_cpu and rotary_frequencies_backward_cpu, for all replicas. Each call
/// computes the table of turns first, in `scratch`, which holds rotary_cuda_scratch numbers.
void rotary_forward_cuda(const CudaCall& call, const RotaryCuda& rotary, const Batched<float>& x,
                         const Batched<float>& y, float* scratch);
/// x is read for dfrequencies alone.
void rotary_backward_cuda(const CudaCall& call, const RotaryCuda& rotary, const Batched<float>& x,
                          const Batched<float>& dy, const Gradient<float>& dx,
                          const Gradient<float>& dfrequencies, float* scratch);
/// `rows`: B n.
Index rotary_cuda_scratch(Index replicas, Index positions, Index rows, Index pairs);

}  // namespace recallbench
