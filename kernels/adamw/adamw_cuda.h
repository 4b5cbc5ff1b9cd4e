#pragma once

#include <vector>

#include "kernels/adamw/adamw.h"
#include "kernels/cuda/call.h"
#include "kernels/tensor/arena.h"

namespace recallbench {

/// adamw_step on a GPU: one launch for all parameters of all replicas, whose arguments never
/// change, so that a captured training step may hold it.
class AdamwCuda {
 public:
  /// Borrows the parameters, which lie on the GPU; `updated` as for adamw_step.
  AdamwCuda(Parameters& parameters, const std::vector<Parameter>& updated,
            const AdamwConstants& constants = {});

  /// Enqueues a step. rates [R], in the GPU's memory: of adamw_rates, for each replica and step.
  void step(const CudaCall& call, const AdamwRates* rates) const;

 private:
  Arena table_{Device::cuda};  ///< which numbers of a slab each block of the launch updates
  Index blocks_ = 0;
  Index replicas_, slab_;
  float *values_ = nullptr, *moments_ = nullptr, *squares_ = nullptr;
  const float* gradients_ = nullptr;
  AdamwConstants constants_;
};

}  // namespace recallbench
