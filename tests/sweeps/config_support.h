#pragma once

#include <string>
#include <vector>

#include "sweeps/config/recipe.h"

namespace recallbench {

/// A whole small recipe: one run of attention on MQAR.
inline const std::string kPlainRecipe = R"(schema = 1
name = "plain"

[task]
batch_size = 16
train = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 256}]
test = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 128}]

[model]
vocab_size = 64
d_model = 32
n_layers = 2
layers = [
  {mixer = "base_conv", kernel_size = 3},
  {mixer = "attention", num_heads = 1},
]

[train]
max_epochs = 2
lr = 0.01
weight_decay = 0.1
)";

/// `text` with the only occurrence of `from` replaced; ends the test program if there is none.
std::string with(std::string text, const std::string& from, const std::string& to);

/// The message of the Error(usage) that parsing gives, "" if it gives none; any other exception
/// passes through.
std::string message_of(const std::string& toml, const std::vector<std::string>& overrides = {},
                       std::int64_t max_runs = kMaxRuns);

}  // namespace recallbench
