#pragma once

#include "kernels/graph/op_case.h"
#include "kernels/softmax_attention/softmax_attention.h"

namespace recallbench {

/// The definition: inputs q [B, Lq, H·dh], k [B, L, H·dh], v [B, L, H·dv]. Dropout as in cases:
/// seed 17, step 3, random id 0.
std::vector<HostTensor> softmax_attention_reference(const std::vector<HostTensor>& inputs,
                                                    const HostBatch& batch,
                                                    const SoftmaxAttentionOptions& options);

}  // namespace recallbench
