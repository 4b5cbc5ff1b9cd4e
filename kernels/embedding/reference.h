#pragma once

#include "kernels/graph/op_case.h"

namespace recallbench {

/// A batch of tokens for cases, half of them token 0, as with zero fillers.
HostBatch some_tokens(Index examples, Index length, Index vocab);

/// y [B, L, D] of embedding.h in plain loops.
HostTensor embedding_reference(const HostTensor& table, const HostBatch& batch);

}  // namespace recallbench
