#pragma once

#include "mixers/attention/cached_attention.h"

namespace recallbench {

/// How a token's share s of attention's output is found.
enum class Selection {
  softmax,  ///< softmax of w x + b over the positions
  sigmoid,  ///< σ(w x)
  sma,      ///< the second of softmax((W x + b) / temperature)
};

struct SelectiveAttentionConfig {
  CachedAttentionConfig attention;
  Selection selection = Selection::sigmoid;
  Index lookups = 0;  ///< tokens that attend, of a sequence; 0: √L
  double penalty = 0;
  double alpha = 0.3;  ///< initial temperature over √d
  bool zoology = false;
};

/// The definition: see decoder.cpp.
std::unique_ptr<Decoder> make_selective_attention_decoder(const SelectiveAttentionConfig& config,
                                                          const HostParameters& parameters);

}  // namespace recallbench
