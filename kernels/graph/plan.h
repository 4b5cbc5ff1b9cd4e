#pragma once

#include <cstddef>
#include <vector>

namespace recallbench {

/// A piece of memory that must exist from time `first` to time `last`, both included.
struct Lifetime {
  std::size_t bytes = 0;
  int first = 0, last = 0;
};

struct MemoryPlan {
  std::vector<std::size_t> offsets;  ///< of each piece, multiples of kAlignment
  std::size_t bytes = 0;             ///< size of the arena
};

/// Lays pieces out so that two that live at one time never overlap: largest first, each at the
/// lowest offset that is free over its whole life. A pure function of its argument.
MemoryPlan plan_memory(const std::vector<Lifetime>& pieces);

}  // namespace recallbench
