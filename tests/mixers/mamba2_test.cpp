// mamba2: fast form against definition over several chunks, rows, gradients, causality, state,
// initial values, options.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "mixers/model.h"
#include "mixers/obligations/lone_mixer.h"
#include "mixers/registry.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

struct Config {
  std::string label;
  Values options;
  Index d_model;
  bool transformer_block = false;
};

void PrintTo(const Config& c, std::ostream* out) {
  *out << c.label;
}

MadeMixer make(const Config& c) {
  MixerContext context;
  context.d_model = c.d_model;
  context.n_layers = 2;
  context.transformer_block = c.transformer_block;
  return make_mixer("mamba2", c.options, context);
}

void expect_at_most(double error, double bound, const std::string& what) {
  if (!(error <= bound)) ADD_FAILURE() << what << ": error " << error << " over bound " << bound;
}

class Mamba2Forms : public ::testing::TestWithParam<Config> {
 protected:
  void SetUp() override { set_memory_poisoning(true); }
  void TearDown() override { set_memory_poisoning(false); }
};

TEST_P(Mamba2Forms, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  for (const Index length : {1, 2, 13, 32, 33, 140}) {
    const MixerInput input = random_input(2, length, GetParam().d_model, 5);
    const std::vector<double> folded = fold_decoder(made, parameters, input);
    for (const bool training : {false, true}) {
      expect_at_most(relative_error(run_mixer<double>(made, parameters, input, training).y, folded),
                     1e-10, fmt::format("double, L = {}", length));
      expect_at_most(relative_error(run_mixer<float>(made, parameters, input, training).y, folded),
                     2e-5, fmt::format("float, L = {}", length));
    }
  }
}

TEST_P(Mamba2Forms, LabelledRowsAreThoseOfForward) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  MixerInput input = random_input(2, 13, GetParam().d_model, 5);
  const std::vector<double> all = run_mixer<double>(made, parameters, input, false).y;
  input.positions = {12, 3, 0, 7, 7, 0, 1, 12, 5, 0};
  expect_at_most(
      relative_error(run_mixer<double>(made, parameters, input, true).y, rows_at(all, input)),
      1e-12, "rows");
}

TEST_P(Mamba2Forms, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 4, 0.5);
  MixerInput input = random_input(2, 70, GetParam().d_model, 6);
  std::string worst = "everything";
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "all rows, " + worst);
  input.positions = {10, 3, 0, 69, 2, 2};
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "labelled rows, " + worst);
}

TEST_P(Mamba2Forms, AChangedTokenLeavesEarlierOutputsUnchanged) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  const Index d = GetParam().d_model, changed = 70;
  const MixerInput input = random_input(1, 80, d, 5);
  MixerInput other = input;
  for (Index j = 0; j < d; ++j)
    other.x[static_cast<std::size_t>(changed * d + j)] += 3;
  const std::vector<double> before = run_mixer<float>(made, parameters, input, false).y;
  const std::vector<double> after = run_mixer<float>(made, parameters, other, false).y;
  const auto here = before.begin() + changed * d;
  EXPECT_TRUE(std::equal(before.begin(), here, after.begin()));
  EXPECT_FALSE(std::equal(here, here + d, after.begin() + changed * d));
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

INSTANTIATE_TEST_SUITE_P(
    All, Mamba2Forms,
    ::testing::Values(Config{"default_options", {{"d_state", 6L}}, 6},
                      Config{"groups",
                             {{"d_state", 3L},
                              {"d_conv", 2L},
                              {"expand", 3L},
                              {"headdim", 2L},
                              {"ngroups", 3L},
                              {"D_has_hdim", true},
                              {"norm_before_gate", true},
                              {"bias", true}},
                             4},
                      Config{"bare",
                             {{"d_state", 1L},
                              {"d_conv", 1L},
                              {"expand", 1L},
                              {"headdim", 1L},
                              {"rmsnorm", false},
                              {"conv_bias", false}},
                             4},
                      Config{"hybrid", {{"d_state", 5L}, {"headdim", 4L}}, 4, true}),
    [](const auto& info) { return info.param.label; });

/// Numbers carried after `length` tokens.
Index state_numbers(const Values& options, Index length) {
  const MadeMixer made = make({"", options, 6});
  Index numbers = -1;
  fold_decoder(made, random_parameters(made.specs, 1, 0.1), random_input(1, length, 6, 2),
               &numbers);
  return numbers;
}

TEST(Mamba2State, IsTheRecurrenceAndTheConvolutionsWindow) {
  EXPECT_EQ(state_numbers({}, 1), 12 * 128 + (12 + 2 * 128) * 3);
  EXPECT_EQ(state_numbers({}, 9), 12 * 128 + (12 + 2 * 128) * 3);
  const Values grouped = {{"d_state", 8L}, {"headdim", 3L}, {"ngroups", 2L}, {"d_conv", 2L}};
  EXPECT_EQ(state_numbers(grouped, 9), 12 * 8 + 12 + 2 * 2 * 8);
}

ModelConfig two_layers(Index d, Index states, bool zoology = true) {
  ModelConfig config;
  config.zoology = zoology;
  config.block = "mamba2";
  config.d_model = d;
  config.layers.resize(1);
  config.layers[0].mixer = "mamba2";
  config.layers[0].options = {{"d_state", states}};
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
  std::map<std::string, std::vector<Index>> shapes;
  for (const ParameterSpec& spec :
       make({"", {{"d_state", 8L}, {"headdim", 10L}, {"ngroups", 2L}, {"bias", true}}, 20}).specs)
    shapes[spec.name] = spec.shape;
  EXPECT_EQ(shapes, (std::map<std::string, std::vector<Index>>{{"in_proj.weight", {116, 20}},
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
  for (const auto& [d, heads] : {std::pair{64, 2}, {128, 4}, {48, 2}, {6, 1}}) {
    Parameters parameters(make({"", {}, d}).specs, DType::f32, 1);
    EXPECT_EQ(parameters.spec(parameters.find("A_log")).shape, std::vector<Index>{heads}) << d;
  }
}

std::vector<double> initial(const std::string& name, const Config& config) {
  const MadeMixer made = make(config);
  Parameters parameters(made.specs, DType::f64, 1);
  parameters.initialise(0, 7);
  return parameters.get(parameters.find(name), 0);
}

/// Uniform within the bound: reaches near it, never beyond, and has the standard deviation.
void expect_uniform(const std::vector<double>& values, double bound) {
  double square = 0, largest = 0;
  for (const double v : values) {
    square += v * v / static_cast<double>(values.size());
    largest = std::max(largest, std::abs(v));
  }
  EXPECT_LE(largest, bound);
  EXPECT_GE(largest, 0.97 * bound);
  EXPECT_NEAR(std::sqrt(square) / bound, 1 / std::sqrt(3.0), 0.05);
}

TEST(Mamba2Initialisation, Distributions) {
  const Config config{"", {{"d_state", 16L}, {"headdim", 1L}}, 128};  // 256 heads
  expect_uniform(initial("in_proj.weight", config), 1 / std::sqrt(128.0));
  expect_uniform(initial("conv1d.weight", config), 0.5);
  expect_uniform(initial("out_proj.weight", config), 1 / 16.0 / std::sqrt(2.0));
  for (const std::string name : {"D", "norm.weight"})
    for (const double v : initial(name, config))
      EXPECT_EQ(v, 1);
  std::vector<double> rates, logs;
  for (const double v : initial("A_log", config))
    rates.push_back(std::exp(v) - 8.5);
  expect_uniform(rates, 7.5);
  for (const double v : initial("dt_bias", config))
    logs.push_back(std::log(std::log1p(std::exp(v))) - std::log(0.01));
  expect_uniform(logs, std::log(10.0));
}

/// The text of the error that making the mixer throws.
std::string refusal(const Values& options) {
  try {
    make({"", options, 8});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "accepted";
}

TEST(Mamba2Options, WrongOnesAreRefused) {
  EXPECT_NE(refusal({{"d_states", 8L}}).find("d_state"), std::string::npos);
  EXPECT_NE(refusal({{"headdim", 5L}}).find("divide the 16 channels"), std::string::npos);
  EXPECT_NE(refusal({{"headdim", 4L}, {"ngroups", 3L}}).find("divide the 4 heads"),
            std::string::npos);
  EXPECT_NE(refusal({{"dt_min", 0.2}}).find("dt_min = 0.2"), std::string::npos);
}

}  // namespace
}  // namespace recallbench::testing
