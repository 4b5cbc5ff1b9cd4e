#pragma once

#include <cstdint>

#include "kernels/tensor/shape.h"

namespace recallbench {

/// What a query of grouped_attention sees.
enum class Visible {
  blocks,  ///< the first `memory` keys, and of the others, one a block, those of blocks behind it
  band,    ///< keys t - back ... t + ahead
  chosen,  ///< every token of the chosen blocks, and of its own block those up to itself
};

struct GroupedAttentionOptions {
  Index heads = 1, kv_heads = 1;  ///< query head h reads key head h / (heads / kv_heads)
  Visible visible = Visible::band;
  Index memory = 0, block = 1;
  Index back = 0, ahead = 0;
  Index choice_groups = 1;  ///< heads that choose blocks: kv_heads, or heads
  bool at_labels = false;   ///< query i stands at its labelled position i
};

/// Sizes of an attention, and where its queries stand: at[example · queries + i], or at i.
struct SparseSize {
  GroupedAttentionOptions options;
  Index examples, queries, keys, head_dim;
  Index choices, groups;  ///< of the chosen blocks
  const std::int32_t* at;

  Index position(Index row) const { return at == nullptr ? row % queries : at[row]; }
};

}  // namespace recallbench
