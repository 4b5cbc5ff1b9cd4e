#pragma once

#include "kernels/cuda/call.h"
#include "kernels/feature_map/feature_map_cpu.h"

namespace recallbench {

/// CUDA twins of feature_map.h; rows of an operation's tensors correspond.
void elementwise_features_cuda(const CudaCall& call, ElementwiseMap map, float temperature,
                               const Batched<float>& x, const Batched<float>& y);
void elementwise_features_backward_cuda(const CudaCall& call, ElementwiseMap map, float temperature,
                                        const Batched<float>& x, const Batched<float>& dy,
                                        const Gradient<float>& dx);

void cosformer_features_cuda(const CudaCall& call, const CosformerOptions& options,
                             const RowPositions& positions, const Batched<float>& x,
                             const Batched<float>& y);
void cosformer_features_backward_cuda(const CudaCall& call, const CosformerOptions& options,
                                      const RowPositions& positions, const Batched<float>& x,
                                      const Batched<float>& dy, const Gradient<float>& dx);

void exponential_features_cuda(const CudaCall& call, bool less_maximum, const Batched<float>& x,
                               const Batched<float>& p, const Batched<float>& y);
void exponential_features_backward_cuda(const CudaCall& call, bool less_maximum,
                                        const Batched<float>& x, const Batched<float>& p,
                                        const Batched<float>& y, const Batched<float>& dy,
                                        const Gradient<float>& dx, const Gradient<float>& dp);

void polynomial_features_cuda(const CudaCall& call, const Batched<float>& a,
                              const Batched<float>& b, const Batched<float>& y);
void polynomial_features_backward_cuda(const CudaCall& call, const Batched<float>& a,
                                       const Batched<float>& dy, const Gradient<float>& da,
                                       const Gradient<float>& db);

void softmax_features_cuda(const CudaCall& call, float scale, bool jointly, const Batched<float>& x,
                           const Batched<float>& y);
void softmax_features_backward_cuda(const CudaCall& call, float scale, bool jointly,
                                    const Batched<float>& y, const Batched<float>& dy,
                                    const Gradient<float>& dx);

}  // namespace recallbench
