// rwkv4: obligations, keys of any size, state, initial values, options.
#include <gtest/gtest.h>

#include <cmath>

#include "mixers/model.h"
#include "mixers/obligations/lone_mixer.h"
#include "mixers/obligations/obligations.h"

namespace recallbench::testing {
namespace {

using Int = std::int64_t;

MixerContext context_of(Index d_model, bool zoology, int layer = 0) {
  MixerContext context;
  context.d_model = d_model;
  context.n_layers = 2;
  context.layer = layer;
  context.zoology = zoology;
  return context;
}

MadeMixer make(Index d_model, bool zoology, int layer = 0, const Values& options = {}) {
  return make_mixer("rwkv4", options, context_of(d_model, zoology, layer));
}

TEST(Rwkv4Forms, OddWidthsKeepTheObligations) {
  for (const Index d_model : {1, 5, 19})
    for (const Obligation& o : check_obligations("rwkv4", mixer_registry().find("rwkv4"), {},
                                                 context_of(d_model, true, 1)))
      EXPECT_FALSE(o.failed()) << o.number << " " << o.name << ": " << o.measured << " over "
                               << o.bound << ", " << o.detail;
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
  Index numbers = -1;
  fold_decoder(made, random_parameters(made.specs, 1, 0.1), random_input(1, 9, 8, 2), &numbers);
  EXPECT_EQ(numbers, 3 * 8);
  EXPECT_EQ(made.mixer->published_state_size(64), std::nullopt);
}

TEST(Rwkv4Parameters, CountOfTheReference) {
  ModelConfig config;
  config.zoology = true;
  config.d_model = 64;
  config.layers.resize(1);
  config.layers[0].mixer = "rwkv4";
  EXPECT_EQ(Model(config, DType::f32, 1).parameters().trainable_numbers(), 558336);
}

std::vector<double> initial(const std::string& name, const MadeMixer& made) {
  Parameters parameters(made.specs, DType::f64, 1);
  parameters.initialise(0, 7);
  return parameters.get(parameters.find(name), 0);
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

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values)
    most = std::max(most, std::abs(v));
  return most;
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
