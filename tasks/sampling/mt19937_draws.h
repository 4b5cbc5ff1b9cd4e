#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace recallbench {

/// Draws from a 32-bit Mersenne Twister as NumPy's legacy generator makes them, bit for bit;
/// what compat = "zoology" is built from. `std::mt19937(seed)` is the same engine.

/// A uniform permutation of 0..out.size()-1: Fisher-Yates from the end, where an index up to `max`
/// is drawn by masking words to the bits of `max` until one fits, and none is drawn if max is 0.
void permutation(std::mt19937& engine, std::span<std::uint32_t> out);

/// Uniform in [0, 1) with 53 bits, from two words.
double uniform53(std::mt19937& engine);

/// k indices without replacement with the given probabilities, in the order of drawing.
/// Rounds: draw what is missing, keep the first of each, take those out, go on.
std::vector<std::uint32_t> weighted_choice(std::mt19937& engine, std::vector<double> probabilities,
                                           std::size_t k);

}  // namespace recallbench
