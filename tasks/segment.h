#pragma once

#include <cstdint>
#include <vector>

namespace recallbench {

enum class Split { train = 0, valid = 1, test = 2 };

/// The seed that Task::generate takes for one segment of a run. For one base seed, different
/// (split, segment) pairs always give different seeds, and adding a segment changes no other.
std::uint64_t segment_seed(std::uint64_t base_seed, Split split, std::uint32_t segment);

/// Seeds of the segments as the public reference derives them from its data seed. Those of the test
/// segments depend on how many train segments there are.
struct CompatSeeds {
  std::vector<std::uint32_t> train;  ///< in [0, 2^31)
  std::vector<std::uint32_t> test;   ///< in [2^31, 2^32)
};
CompatSeeds compat_segment_seeds(std::uint32_t data_seed, std::size_t num_train,
                                 std::size_t num_test);

}  // namespace recallbench
