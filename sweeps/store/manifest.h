#pragma once

#include <string>
#include <vector>

#include "sweeps/config/run_config.h"

namespace recallbench {

/// manifest.json: what was asked of a results folder. Written before the first run starts; what
/// runs later is what stands here, whatever happens to the recipe's file meanwhile.
struct Manifest {
  std::string name;                ///< the sweep's
  std::vector<RunConfig> runs;     ///< of the latest request, in the recipe's order
  std::vector<RunConfig> earlier;  ///< of earlier requests only, sorted by id; their results stay
};

/// Writes the request into the manifest of `results`, and returns that: runs that were asked
/// before, and now are not, go to `earlier`; with `add` they stay in `runs`, before those that are
/// new. Processes that do so at the same time take turns.
/// Throws Error(usage) if the folder belongs to a sweep of another name, Error(io) for a manifest
/// that cannot be read or written.
Manifest update_manifest(const std::string& results, const std::string& name,
                         const std::vector<RunConfig>& runs, bool add = false);

/// Throws Error(io) if there is none, or it is torn or changed.
Manifest read_manifest(const std::string& results);

}  // namespace recallbench
