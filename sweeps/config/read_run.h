#pragma once

#include <string>
#include <vector>

#include "sweeps/config/node.h"
#include "sweeps/config/resolve.h"
#include "sweeps/config/run_config.h"

namespace recallbench {

/// The keys of a recipe that belong to its runs, and those of [model].
const std::vector<std::string>& run_keys();
const std::vector<std::string>& model_keys();
/// Every dotted path that an override may have: "train.lr".
std::vector<std::string> known_paths();

/// Reads the tree of one run, variables put in, strictly: unknown keys, wrong types and values,
/// and parts that do not fit together are Error(usage) with their place. Names are not set.
RunConfig read_run(const Node& tree, Resolver& resolver);

/// Reads a [model] table. `default_vocab_size` stands in for an absent vocab_size.
ModelConfig read_model(const Node& table, bool zoology, std::int64_t default_vocab_size,
                       const std::vector<std::string>& known, Resolver& resolver);

}  // namespace recallbench
