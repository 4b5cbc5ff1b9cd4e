#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/options.h"

namespace recallbench {

/// One entry of `layers`: `{mixer = "based", feature_dim = 16, ...}`.
struct LayerConfig {
  std::string mixer;
  Values options;
  std::string where;  ///< "file:line:column" for messages
};

/// `state_mixer = {type = "mlp", hidden_mult = 4}`: identity, mlp or glu.
struct StateMixerConfig {
  std::string type = "identity";
  std::int64_t hidden_mult = 4;
};

/// The `[model]` table of a recipe: all that fixes a model's function and initial distribution.
struct ModelConfig {
  bool zoology = false;  ///< compat = "zoology": every quirk of the reference
  std::int64_t vocab_size = 8192;
  std::int64_t d_model = 64;
  std::int64_t n_layers = 2;
  std::int64_t max_position_embeddings = 0;  ///< 0: no position embedding
  std::string block = "transformer";         ///< transformer, mamba or mamba2
  bool tie_embeddings = true;
  double embed_dropout = 0.1;
  double resid_dropout = 0.0;
  StateMixerConfig state_mixer;
  std::vector<LayerConfig> layers;  ///< cycled where shorter than n_layers
};

}  // namespace recallbench
