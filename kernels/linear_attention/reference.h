#pragma once

#include "kernels/graph/op_case.h"
#include "kernels/linear_attention/linear_attention.h"

namespace recallbench {

/// The sums of linear_attention.h, term by term.
std::vector<HostTensor> linear_attention_reference(const std::vector<HostTensor>& inputs,
                                                   const HostBatch& batch,
                                                   const LinearAttentionOptions& options);

}  // namespace recallbench
