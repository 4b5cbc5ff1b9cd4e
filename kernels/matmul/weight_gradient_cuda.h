#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Gradients of linear's weight and bias in one pass over x [R, n, in] and dy [R, n, out], on
/// tensor cores: dweight = dyᵀ x [R, out, in], dbias = Σ rows of dy [R, 1, out], or += these. The
/// sum over rows is cut into slices that the sizes of one replica fix, added in order.

/// Whether it can: products are rounded (Precision::tf32, bf16), and the GPU's blocks may have the
/// shared memory that these sizes need. Views may lie at any address.
bool weight_gradient_fits(const CudaCall& call, const Batched<float>& x, const Batched<float>& dy);

/// `scratch` holds weight_gradient_scratch(R, n, out, in) numbers.
void weight_gradient_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& dy,
                          const Gradient<float>& dweight, const Gradient<float>& dbias,
                          float* scratch);
Index weight_gradient_scratch(Index replicas, Index rows, Index out, Index in);

}  // namespace recallbench
