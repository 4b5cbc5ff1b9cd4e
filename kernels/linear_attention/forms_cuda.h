#pragma once

#include "kernels/linear_attention/linear_attention_cuda.h"

namespace recallbench {

/// The gradient of queries sums over keys that several blocks hold: each block writes a part for
/// its slice of the keys, and the parts are added in order. One slice writes dq itself. Follows
/// from one replica's shape.
struct KeySlices {
  Index count, keys;  ///< slices, and keys of each (the last may have fewer)

  explicit KeySlices(const LinearAttentionPlan& plan);
  /// Numbers of all parts, [count, R, B·n, H·f]; none for one slice.
  Index scratch(const LinearAttentionPlan& plan, Index replicas) const;
};

/// Where the parts of the first slice go; those of another are R slices of replicas further.
Gradient<float> query_parts(const LinearAttentionCuda& c, float* parts, const Gradient<float>& dq);
/// dq = Σ of the parts, over the slices that a query sees.
void add_query_parts_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                          const KeySlices& slices, float* parts, const Gradient<float>& dq);

/// Any sizes: wide_cuda.cu.
void wide_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c);
void wide_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                        const LinearAttentionGradients<float>& gradients);
Index wide_backward_scratch(const LinearAttentionPlan& plan, Index replicas);

/// Heads of at most kNarrowFeatures features and kNarrowValues values: narrow_*_cuda.cu.
inline constexpr Index kNarrowFeatures = 32, kNarrowValues = 128;
void narrow_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c);
void narrow_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                          const LinearAttentionGradients<float>& gradients);
Index narrow_backward_scratch(const LinearAttentionPlan& plan, Index replicas);
/// The gradients where queries see only the keys of their own chunk, at positions 0, 1, ...
void diagonal_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                            const LinearAttentionGradients<float>& gradients, Index chunk);

/// The same heads in long sequences, with a state carried from chunk to chunk: chunked_*_cuda.cu.
void chunked_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c);
void chunked_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                           const LinearAttentionGradients<float>& gradients);
Index chunked_cuda_scratch(const LinearAttentionPlan& plan, Index replicas);
/// Whether that is the cheaper form, and whether this GPU has the shared memory for it.
bool chunked_pays_on_cuda(const LinearAttentionPlan& plan);
bool chunked_fits_on_cuda(const LinearAttentionPlan& plan);

}  // namespace recallbench
