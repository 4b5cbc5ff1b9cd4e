// mamba2: fast form against definition over several chunks, rows, gradients, causality, state,
// initial values, options.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

/// In its own block, unless said otherwise.
MixerConfig mamba2(const std::string& label, const Values& options, Index d_model,
                   bool transformer_block = false) {
  return {label, "mamba2", options, false, d_model, 0, transformer_block};
}

class Mamba2Forms : public MixerForms {};

TEST_P(Mamba2Forms, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  expect_forward_is_the_fold(made, random_parameters(made.specs, 3, 0.5), {1, 2, 13, 32, 33, 140});
}

TEST_P(Mamba2Forms, LabelledRowsAreThoseOfForward) {
  const MadeMixer made = make(GetParam());
  expect_labelled_rows(made, random_parameters(made.specs, 3, 0.5));
}

TEST_P(Mamba2Forms, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  expect_gradients(made, random_parameters(made.specs, 4, 0.5), 70, {10, 3, 0, 69, 2, 2});
}

TEST_P(Mamba2Forms, AChangedTokenLeavesEarlierOutputsUnchanged) {
  const MadeMixer made = make(GetParam());
  expect_causal(made, random_parameters(made.specs, 3, 0.5), 80, 70);
}

// Neither softplus nor the decay may swallow it.
TEST_P(Mamba2Forms, NotANumberIsNotHidden) {
  const MadeMixer made = make(GetParam());
  for (const std::string name : {"dt_bias", "A_log"}) {
    auto values = random_parameters(made.specs, 3, 0.5).all();
    for (double& v : values.at(name))
      v = NAN;
    const Index d = GetParam().d_model;
    const MixerInput input = random_input(1, 6, d, 5);
    const std::vector<double> y = run_mixer<float>(made, HostParameters(values), input, false).y;
    EXPECT_TRUE(std::all_of(y.begin() + d, y.end(), [](double v) { return std::isnan(v); }))
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Mamba2Forms,
                         ::testing::Values(mamba2("default_options", {{"d_state", 6L}}, 6),
                                           mamba2("groups",
                                                  {{"d_state", 3L},
                                                   {"d_conv", 2L},
                                                   {"expand", 3L},
                                                   {"headdim", 2L},
                                                   {"ngroups", 3L},
                                                   {"D_has_hdim", true},
                                                   {"norm_before_gate", true},
                                                   {"bias", true}},
                                                  4),
                                           mamba2("bare",
                                                  {{"d_state", 1L},
                                                   {"d_conv", 1L},
                                                   {"expand", 1L},
                                                   {"headdim", 1L},
                                                   {"rmsnorm", false},
                                                   {"conv_bias", false}},
                                                  4),
                                           mamba2("hybrid", {{"d_state", 5L}, {"headdim", 4L}}, 4,
                                                  true)),
                         [](const auto& info) { return info.param.label; });

TEST(Mamba2State, IsTheRecurrenceAndTheConvolutionsWindow) {
  const auto numbers = [](const Values& options, Index length) {
    return state_numbers(make(mamba2("", options, 6)), length);
  };
  EXPECT_EQ(numbers({}, 1), 12 * 128 + (12 + 2 * 128) * 3);
  EXPECT_EQ(numbers({}, 9), 12 * 128 + (12 + 2 * 128) * 3);
  const Values grouped = {{"d_state", 8L}, {"headdim", 3L}, {"ngroups", 2L}, {"d_conv", 2L}};
  EXPECT_EQ(numbers(grouped, 9), 12 * 8 + 12 + 2 * 2 * 8);
}

ModelConfig two_layers(Index d, Index states, bool zoology = true) {
  ModelConfig config = reference_model(d, {{"mamba2", {{"d_state", states}}, ""}});
  config.zoology = zoology;
  config.block = "mamba2";
  return config;
}

TEST(Mamba2Model, CountsAndStateOfTheReference) {
  for (const auto& [d, states, numbers, bytes] : {std::tuple{64, 8, 577708, 8192},
                                                  {64, 16, 579916, 16384},
                                                  {64, 24, 582124, 24576},
                                                  {128, 8, 1254072, 16384},
                                                  {128, 16, 1258328, 32768},
                                                  {128, 24, 1262584, 49152},
                                                  {256, 8, 2903248, 32768},
                                                  {256, 16, 2911600, 65536},
                                                  {256, 24, 2919952, 98304}}) {
    const Model model(two_layers(d, states), DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
    EXPECT_EQ(model.published_state_bytes(1024), bytes);
    EXPECT_EQ(model.reference_state_bytes(1024), bytes);
  }
}

// Q9: under compat everything decays.
TEST(Mamba2Model, DecayRatesAndNormsAreNotDecayedSoundly) {
  for (const bool zoology : {false, true}) {
    const Model model(two_layers(64, 8, zoology), DType::f32, 1);
    for (const std::string name : {"A_log", "D", "dt_bias", "norm.weight", "conv1d.bias"}) {
      const Parameter p = model.parameters().find("backbone.layers.0.mixer." + name);
      EXPECT_EQ(model.parameters().spec(p).decays, zoology) << name;
    }
  }
}

TEST(Mamba2Parameters, NamesAndShapes) {
  const MadeMixer made =
      make(mamba2("", {{"d_state", 8L}, {"headdim", 10L}, {"ngroups", 2L}, {"bias", true}}, 20));
  EXPECT_EQ(shapes(made), (Shapes{{"in_proj.weight", {116, 20}},
                                  {"in_proj.bias", {116}},
                                  {"conv1d.weight", {72, 1, 4}},
                                  {"conv1d.bias", {72}},
                                  {"dt_bias", {4}},
                                  {"A_log", {4}},
                                  {"D", {4}},
                                  {"norm.weight", {40}},
                                  {"out_proj.weight", {20, 40}},
                                  {"out_proj.bias", {20}}}));
}

// Options' resolution: 64 channels a head where they divide all, as in the reference.
TEST(Mamba2Parameters, HeadsOfTheDefaultWidth) {
  for (const auto& [d, heads] : {std::pair{64, 2}, {128, 4}, {48, 2}, {6, 1}})
    EXPECT_EQ(shapes(make(mamba2("", {}, d))).at("A_log"), std::vector<Index>{heads}) << d;
}

TEST(Mamba2Initialisation, Distributions) {
  const MadeMixer made = make(mamba2("", {{"d_state", 16L}, {"headdim", 1L}}, 128));  // 256 heads
  expect_uniform(initial("in_proj.weight", made), 1 / std::sqrt(128.0));
  expect_uniform(initial("conv1d.weight", made), 0.5);
  expect_uniform(initial("out_proj.weight", made), 1 / 16.0 / std::sqrt(2.0));
  for (const std::string name : {"D", "norm.weight"})
    for (const double v : initial(name, made))
      EXPECT_EQ(v, 1);
  std::vector<double> rates, logs;
  for (const double v : initial("A_log", made))
    rates.push_back(std::exp(v) - 8.5);
  expect_uniform(rates, 7.5, 0.05);
  for (const double v : initial("dt_bias", made))
    logs.push_back(std::log(std::log1p(std::exp(v))) - std::log(0.01));
  expect_uniform(logs, std::log(10.0), 0.05);
}

TEST(Mamba2Options, WrongOnesAreRefused) {
  expect_refused({"", "mamba2", {{"d_states", 8L}}}, "d_state");
  expect_refused({"", "mamba2", {{"headdim", 5L}}}, "divide the 16 channels");
  expect_refused({"", "mamba2", {{"headdim", 4L}, {"ngroups", 3L}}}, "divide the 4 heads");
  expect_refused({"", "mamba2", {{"dt_min", 0.2}}}, "dt_min = 0.2");
}

}  // namespace
}  // namespace recallbench::testing
