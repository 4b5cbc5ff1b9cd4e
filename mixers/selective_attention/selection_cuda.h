#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of selection_cpu.h; sequences are `length` rows.
void position_softmax_cuda(const CudaCall& call, const Batched<float>& z, Index length, bool causal,
                           const Batched<float>& s);
void position_softmax_backward_cuda(const CudaCall& call, const Batched<float>& s,
                                    const Batched<float>& ds, Index length, bool causal,
                                    const Gradient<float>& dz);

void tempered_gate_cuda(const CudaCall& call, const Batched<float>& z,
                        const Batched<float>& temperature, const Batched<float>& s);
/// `scratch` holds tempered_gate_scratch(R, rows) numbers.
void tempered_gate_backward_cuda(const CudaCall& call, const Batched<float>& z,
                                 const Batched<float>& temperature, const Batched<float>& s,
                                 const Batched<float>& ds, const Gradient<float>& dz,
                                 const Gradient<float>& dtemperature, float* scratch);
Index tempered_gate_scratch(Index replicas, Index rows);

/// The CPU's choice among the same shares, equal ones included. `order` holds R · rows numbers.
void keep_lookups_cuda(const CudaCall& call, const Batched<float>& s, Index length, Index k,
                       const Batched<float>& kept, std::int32_t* order);
void keep_lookups_backward_cuda(const CudaCall& call, const Batched<float>& kept,
                                const Batched<float>& dkept, const Gradient<float>& ds);

/// What a sequence counts for: weights [R, B, labels], or null where all count.
struct LookupWeights {
  const float* weights;
  Index labels;
};
void lookup_penalty_cuda(const CudaCall& call, const Batched<float>& s, Index length,
                         const LookupWeights& weights, double weight, double share,
                         const Batched<float>& penalty);
/// `scratch` holds R · B numbers.
void lookup_penalty_backward_cuda(const CudaCall& call, const Batched<float>& penalty,
                                  const Batched<float>& dpenalty, Index length,
                                  const LookupWeights& weights, double weight,
                                  const Gradient<float>& ds, float* scratch);

void add_scaled_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& s,
                     const Batched<float>& a, const Batched<float>& y);
void add_scaled_backward_cuda(const CudaCall& call, const Batched<float>& s,
                              const Batched<float>& a, const Batched<float>& dy,
                              const Gradient<float>& dx, const Gradient<float>& ds,
                              const Gradient<float>& da);

}  // namespace recallbench
