#include "tasks/segment.h"

#include <random>

namespace recallbench {
namespace {

/// A bijection of 64-bit numbers that spreads every bit: the output function of SplitMix64
/// (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t segment_seed(std::uint64_t base_seed, Split split, std::uint32_t segment) {
  return mix(mix(base_seed) ^ (static_cast<std::uint64_t>(split) << 32 | segment));
}

CompatSeeds compat_segment_seeds(std::uint32_t data_seed, std::size_t num_train,
                                 std::size_t num_test) {
  constexpr std::uint32_t kHalf = std::uint32_t{1} << 31;
  std::mt19937 engine(data_seed);
  CompatSeeds seeds;
  for (std::size_t i = 0; i < num_train; ++i)
    seeds.train.push_back(static_cast<std::uint32_t>(engine()) & (kHalf - 1));
  for (std::size_t i = 0; i < num_test; ++i)
    seeds.test.push_back(static_cast<std::uint32_t>(engine()) | kHalf);
  return seeds;
}

}  // namespace recallbench
