#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// sums[r, j] = Σ_i x[r, i, j], or += that; in an order that the shape of one replica fixes.
/// x [R, rows, cols]; `scratch` holds column_sums_scratch(R, rows, cols) numbers.
void column_sums_cuda(const CudaCall& call, const Batched<float>& x, const Gradient<float>& sums,
                      float* scratch);
Index column_sums_scratch(Index replicas, Index rows, Index cols);

/// to[r, j] = Σ_s parts[r, s, j] for j < count, or += that, s in order. Where R slices of a long
/// inner sum were computed apart. parts: `slices` pieces a replica, `count` numbers each, side by
/// side.
void sum_slices_cuda(const CudaCall& call, const float* parts, Index slices, Index count,
                     const Gradient<float>& to);

}  // namespace recallbench
