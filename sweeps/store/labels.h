#pragma once

#include <string>
#include <vector>

#include "sweeps/config/run_config.h"

namespace recallbench {

/// Names for the runs of one sweep, in their order. What all runs of one family (`model_name`)
/// share is left out, so that names stay short; runs of one family that differ in anything have
/// different names in `run`, and in `model` where they differ in a key of `[model]`.
struct RunLabels {
  std::vector<std::string> model;  ///< "based d_model=64 feature_dim=16"
  std::vector<std::string> run;    ///< the same, then "lr=0.01 seed=2"
  /// What is learned and what is asked: "train 1000 mqar(input_seq_len=64,num_kv_pairs=4); test 100
  /// mqar(...)", and "; test_seed 2" (of the reference's data "data_seed") where not all have one.
  std::vector<std::string> task;
};
RunLabels make_labels(const std::vector<RunConfig>& runs);

/// What `runs` differ in, with how many values: "model (2)", "lr (4)", "seed (3)".
std::vector<std::string> varying_names(const std::vector<RunConfig>& runs);

/// "base_conv(kernel_size=3)+based(feature_dim=16,num_heads=1)": every layer, every parameter.
std::string layers_text(const ModelConfig& model);

}  // namespace recallbench
