#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace recallbench {

/// Draws from a 32-bit Mersenne Twister as NumPy's legacy generator makes them, bit for bit;
/// what compat = "zoology" is built from. `std::mt19937(seed)` is the same engine.

/// Uniform in [0, max]: words masked to the bits of `max` until one fits; none drawn if max is 0.
std::uint32_t below_or_equal(std::mt19937& engine, std::uint32_t max);

/// A uniform permutation of 0..out.size()-1 (Fisher-Yates from the end).
void permutation(std::mt19937& engine, std::span<std::uint32_t> out);

/// Uniform in [0, 1) with 53 bits, from two words.
double uniform53(std::mt19937& engine);

/// k indices without replacement with the given probabilities, in the order of drawing.
/// Rounds: draw what is missing, keep the first of each, take those out, go on.
std::vector<std::uint32_t> weighted_choice(std::mt19937& engine, std::vector<double> probabilities,
                                           std::size_t k);

}  // namespace recallbench
