#pragma once

namespace recallbench {

/// The cores that this process may use: its affinity mask, cut to the quota of its control group
/// (version 2) where that is smaller; at least 1.
int usable_cores();

}  // namespace recallbench
