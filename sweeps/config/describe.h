#pragma once

#include <string>
#include <vector>

#include "kernels/base/options.h"
#include "mixers/deviation.h"

namespace recallbench {

/// What `list` says about a mixer or task.
struct Description {
  std::string name, summary;
  std::string origin;  ///< mixers: "built in", or the plugin's file; tasks: empty
  std::vector<OptionInfo> parameters;
  std::vector<Deviation> deviations = {};  ///< mixers: from the paper
};

/// Every registered mixer with its parameters and their defaults, in alphabetical order. Mixers
/// are made once, as layer 0 of 2 with d_model 64; what has no default is made up.
std::vector<Description> describe_mixers();
/// The same for tasks.
std::vector<Description> describe_tasks();

}  // namespace recallbench
