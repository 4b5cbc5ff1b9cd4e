#pragma once

#include <string_view>

namespace recallbench {

/// A known difference from a mixer's paper: what the public reference does, and so this program
/// under `compat = "zoology"`, and what holds here without it.
struct Deviation {
  std::string_view number;     ///< of the quirk in mixers/README.md, "Q5"; "" where it has none
  std::string_view reference;  ///< under compat
  std::string_view sound;      ///< otherwise; kSameUnderCompat where compat makes no difference
};

inline constexpr std::string_view kSameUnderCompat = "the same";

/// Those that several mixers share. A mixer's own stand where it is registered.
namespace deviations {

inline constexpr Deviation kNoDropoutInMambaBlocks{
    "Q2", "Mamba blocks have no dropout, and ignore `embed_dropout`",
    "the model's dropouts act in every block"};

inline constexpr Deviation kOutputStartsUnscaled{
    "Q5",
    "of the projections back into the stream only `out_proj` and `fc2` start at N(0, "
    "(0.02/√(2 n_layers))²); `proj_o` and the like at N(0, 0.02²)",
    "all are scaled with the depth"};

inline constexpr Deviation kFilterStartsNearZero{
    "Q7",
    "the network of an implicit filter starts at N(0, 0.02²) with biases 0: a filter of almost "
    "zero",
    "U(±1/√fan_in)"};

inline constexpr Deviation kDecayOnEverything{
    "Q9", "weight decay acts on every parameter",
    "on matrices, filters and embeddings; not on biases, norms and decay rates"};

inline constexpr Deviation kOneBandOfPositions{
    "Q16",
    "the position features of an implicit filter have one band, of frequency 1e-4: a ramp and two "
    "constants",
    "frequency 1"};

inline constexpr Deviation kRoundedToBfloat16{
    "Q20", "q, k and v (with decay β and g too) are rounded to bfloat16 before the delta rule",
    "nothing is; under compat neither"};

}  // namespace deviations
}  // namespace recallbench
