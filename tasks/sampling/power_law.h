#pragma once

#include <cstdint>
#include <vector>

namespace recallbench {

/// The law P(i) = i^(power_a - 1) / sum over j of j^(power_a - 1) on 1..size, as integers:
/// entry i - 1 is P(i) * 2^60, rounded down, and at least 1; their sum is at most 2^60 + size.
///
/// Computed with integers alone (a logarithm by repeated squaring, an exponential from repeated
/// square roots of 1/2), so that all machines and compilers give the same bits. The relative error
/// stays below 1e-14 for entries above 2^-12 of the largest.
/// Takes size in [1, 2^19] and power_a in (0, 16].
std::vector<std::uint64_t> power_law_weights(std::int64_t size, double power_a);

}  // namespace recallbench
