// rwkv4: obligations, keys of any size, state, initial values, options.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

using Int = std::int64_t;

MadeMixer make(Index d_model, bool zoology, int layer = 0, const Values& options = {}) {
  return make(MixerConfig{"", "rwkv4", options, zoology, d_model, layer});
}

TEST(Rwkv4Forms, OddWidthsKeepTheObligations) {
  for (const Index d_model : {1, 5, 19})
    expect_obligations({"", "rwkv4", {}, true, d_model, 1});
}

// e^k of these keys overflows a double.
TEST(Rwkv4Forms, KeysMayBeOfAnySize) {
  const MadeMixer made = make(8, false);
  auto values = random_parameters(made.specs, 3, 0.5).all();
  for (double& w : values.at("key.weight"))
    w *= 2000;
  const HostParameters parameters(values);
  const MixerInput input = random_input(2, 60, 8, 5);
  const std::vector<double> folded = fold_decoder(made, parameters, input);
  EXPECT_LE(relative_error(run_mixer<double>(made, parameters, input, true).y, folded), 1e-10);
  const MixerRun in_float = run_mixer<float>(made, parameters, input, true);
  for (const auto& [name, gradient] : in_float.gradients)
    for (const double number : gradient)
      EXPECT_TRUE(std::isfinite(number)) << name;
}

TEST(Rwkv4State, IsTheLastTokenAnAverageAndItsWeight) {
  const MadeMixer made = make(8, true);
  EXPECT_EQ(state_numbers(made, 9), 3 * 8);
  EXPECT_EQ(made.mixer->published_state_size(64), std::nullopt);
}

TEST(Rwkv4Parameters, CountOfTheReference) {
  const Model model(reference_model(64, {{"rwkv4", {}, ""}}), DType::f32, 1);
  EXPECT_EQ(model.parameters().trainable_numbers(), 558336);
}

// Quirk Q21: the second layer is the second of 12, or of the 2 there are.
TEST(Rwkv4Initialisation, TheScheduleIsThatOfTwelveLayersOnlyUnderCompat) {
  for (const auto& [zoology, depth, height] :
       {std::tuple{true, 1.0 / 11, 11.0 / 12}, {false, 1.0, 0.5}}) {
    const MadeMixer made = make(16, zoology, 1);
    const auto decay = initial("time_decay", made), mix_k = initial("time_mix_k", made),
               mix_v = initial("time_mix_v", made), mix_r = initial("time_mix_r", made),
               first = initial("time_first", made);
    for (std::size_t c = 0; c < 16; ++c) {
      const double x = static_cast<double>(c);
      EXPECT_NEAR(decay[c], -5 + 8 * std::pow(x / 15, 0.7 + 1.3 * depth), 1e-12);
      EXPECT_NEAR(mix_k[c], std::pow(x / 16, height), 1e-12);
      EXPECT_NEAR(mix_v[c], std::pow(x / 16, height) + 0.3 * depth, 1e-12);
      EXPECT_NEAR(mix_r[c], std::pow(x / 16, height / 2), 1e-12);
      EXPECT_NEAR(first[c], std::log(0.3) + 0.5 * (static_cast<double>((c + 1) % 3) - 1), 1e-12);
    }
  }
  EXPECT_EQ(initial("time_decay", make(16, true, 1, {{"n_layer", Int{2}}})),
            initial("time_decay", make(16, false, 1)));
}

// Quirk Q8: uniform within 1 / √d, or normal as every other mixer's.
TEST(Rwkv4Initialisation, MatricesAreTheLibrarysOwnOnlyUnderCompat) {
  for (const char* name : {"key.weight", "output.weight"}) {
    const double compat = largest(initial(name, make(64, true)));
    EXPECT_LE(compat, 0.125);
    EXPECT_GE(compat, 0.12);
    EXPECT_LE(largest(initial(name, make(64, false))), 0.1);
  }
}

TEST(Rwkv4Options, TheScheduleReachesTheLayer) {
  EXPECT_THROW(make(8, true, 3, {{"n_layer", Int{3}}}), Error);
  EXPECT_NO_THROW(make(8, true, 2, {{"n_layer", Int{3}}}));
}

}  // namespace
}  // namespace recallbench::testing
