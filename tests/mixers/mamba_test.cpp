// mamba: fast form against definition, rows, gradients, causality, state, initial values, options.
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
  bool zoology;
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
  context.zoology = c.zoology;
  context.transformer_block = c.transformer_block;
  return make_mixer("mamba", c.options, context);
}

void expect_at_most(double error, double bound, const std::string& what) {
  if (!(error <= bound)) ADD_FAILURE() << what << ": error " << error << " over bound " << bound;
}

class MambaForms : public ::testing::TestWithParam<Config> {
 protected:
  void SetUp() override { set_memory_poisoning(true); }
  void TearDown() override { set_memory_poisoning(false); }
};

TEST_P(MambaForms, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  for (const Index length : {1, 2, 13, 77}) {
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

TEST_P(MambaForms, LabelledRowsAreThoseOfForward) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  MixerInput input = random_input(2, 13, GetParam().d_model, 5);
  const std::vector<double> all = run_mixer<double>(made, parameters, input, false).y;
  input.positions = {12, 3, 0, 7, 7, 0, 1, 12, 5, 0};
  expect_at_most(
      relative_error(run_mixer<double>(made, parameters, input, true).y, rows_at(all, input)),
      1e-12, "rows");
}

TEST_P(MambaForms, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 4, 0.5);
  MixerInput input = random_input(2, 35, GetParam().d_model, 6);
  std::string worst = "everything";
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "all rows, " + worst);
  input.positions = {10, 3, 0, 34, 2, 2};
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "labelled rows, " + worst);
}

TEST_P(MambaForms, AChangedTokenLeavesEarlierOutputsUnchanged) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  const Index d = GetParam().d_model, changed = 66;
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

// Neither softplus nor the decay may swallow it; a decay rate concerns one channel of all outputs.
TEST_P(MambaForms, NotANumberIsNotHidden) {
  const MadeMixer made = make(GetParam());
  for (const std::string name : {"dt_proj.bias", "A_log"}) {
    auto values = random_parameters(made.specs, 3, 0.5).all();
    values.at(name)[0] = NAN;
    const MixerInput input = random_input(1, 6, GetParam().d_model, 5);
    for (const double number : run_mixer<float>(made, HostParameters(values), input, false).y)
      EXPECT_TRUE(std::isnan(number)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, MambaForms,
    ::testing::Values(
        Config{"default_sound", {}, false, 6}, Config{"default_zoology", {}, true, 6},
        Config{"two_ranks", {{"d_state", 8L}}, true, 20},
        Config{"all_options",
               {{"d_state", 3L}, {"d_conv", 2L}, {"expand", 3L}, {"dt_rank", 2L}, {"bias", true}},
               false,
               5},
        Config{"bare",
               {{"d_state", 1L}, {"d_conv", 1L}, {"expand", 1L}, {"conv_bias", false}},
               false,
               4},
        Config{"hybrid", {{"d_state", 5L}}, true, 4, true}),
    [](const auto& info) { return info.param.label; });

/// Numbers carried after `length` tokens.
Index state_numbers(const Values& options, Index length) {
  const MadeMixer made = make({"", options, false, 6});
  Index numbers = -1;
  fold_decoder(made, random_parameters(made.specs, 1, 0.1), random_input(1, length, 6, 2),
               &numbers);
  return numbers;
}

TEST(MambaState, IsTheScanAndTheConvolutionsWindow) {
  EXPECT_EQ(state_numbers({}, 1), 12 * 16 + 12 * 3);
  EXPECT_EQ(state_numbers({}, 9), 12 * 16 + 12 * 3);
  EXPECT_EQ(state_numbers({{"d_state", 8L}, {"d_conv", 1L}, {"expand", 3L}}, 9), 18 * 8);
}

TEST(MambaState, PublishedBytes) {
  const auto two_layers = [](Index d, Index n) {
    return 2 * make({"", {{"d_state", n}}, true, d}).mixer->published_state_size(1024).value();
  };
  EXPECT_EQ(two_layers(64, 8), 8192);
  EXPECT_EQ(two_layers(128, 16), 32768);
  EXPECT_EQ(two_layers(256, 24), 98304);
}

ModelConfig two_layers_of_mamba(bool zoology, Index d, Index states) {
  ModelConfig config;
  config.zoology = zoology;
  config.block = "mamba";
  config.d_model = d;
  config.layers.resize(1);
  config.layers[0].mixer = "mamba";
  config.layers[0].options = {{"d_state", states}};
  return config;
}

TEST(MambaState, ReferenceModelReportsNone) {
  const Model faithful(two_layers_of_mamba(true, 64, 8), DType::f32, 1);
  EXPECT_EQ(faithful.published_state_bytes(1024), 8192);
  EXPECT_EQ(faithful.reference_state_bytes(1024), std::nullopt);
  const Model sound(two_layers_of_mamba(false, 64, 8), DType::f32, 1);
  EXPECT_EQ(sound.reference_state_bytes(1024), 8192);
}

TEST(MambaParameters, CountsOfTheReference) {
  for (const auto& [d, states, numbers] :
       {std::tuple{64, 8, 583680}, {128, 16, 1282048}, {256, 24, 2998272}}) {
    const Model model(two_layers_of_mamba(true, d, states), DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
  }
}

TEST(MambaParameters, NamesAndShapes) {
  std::map<std::string, std::vector<Index>> shapes;
  for (const ParameterSpec& spec : make({"", {{"d_state", 8L}, {"bias", true}}, true, 20}).specs)
    shapes[spec.name] = spec.shape;
  EXPECT_EQ(shapes, (std::map<std::string, std::vector<Index>>{{"in_proj.weight", {80, 20}},
                                                               {"in_proj.bias", {80}},
                                                               {"conv1d.weight", {40, 1, 4}},
                                                               {"conv1d.bias", {40}},
                                                               {"x_proj.weight", {18, 40}},
                                                               {"dt_proj.weight", {40, 2}},
                                                               {"dt_proj.bias", {40}},
                                                               {"A_log", {40, 8}},
                                                               {"D", {40}},
                                                               {"out_proj.weight", {20, 40}},
                                                               {"out_proj.bias", {20}}}));
}

/// Initial values of one parameter; d_model 64, so d_inner 128 and rank 4.
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
  EXPECT_NEAR(std::sqrt(square) / bound, 1 / std::sqrt(3.0), 0.04);
}

TEST(MambaInitialisation, Distributions) {
  for (const bool zoology : {false, true}) {
    const Config config{"", {}, zoology, 64};
    expect_uniform(initial("in_proj.weight", config), 1 / 8.0);
    expect_uniform(initial("conv1d.weight", config), 0.5);
    expect_uniform(initial("x_proj.weight", config), 1 / std::sqrt(128.0));
    expect_uniform(initial("dt_proj.weight", config), 0.5);
    expect_uniform(initial("out_proj.weight", config), 1 / std::sqrt(128.0) / std::sqrt(2.0));
    for (const double v : initial("D", config))
      EXPECT_EQ(v, 1);
    const std::vector<double> a_log = initial("A_log", config);
    for (std::size_t i = 0; i < a_log.size(); ++i)
      EXPECT_EQ(a_log[i], std::log(static_cast<double>(i % 16 + 1)));
    std::vector<double> logs;
    for (const double v : initial("dt_proj.bias", config))
      logs.push_back(std::log(std::log1p(std::exp(v))) - std::log(0.01));
    expect_uniform(logs, std::log(10.0));
  }
}

TEST(MambaInitialisation, StepSizeOptions) {
  const Config config{
      "", {{"dt_init", "constant"}, {"dt_scale", 3.0}, {"dt_init_floor", 0.05}}, true, 64};
  for (const double v : initial("dt_proj.weight", config))
    EXPECT_EQ(v, 1.5);
  int at_floor = 0;
  for (const double v : initial("dt_proj.bias", config)) {
    EXPECT_GE(std::log1p(std::exp(v)), 0.05 * (1 - 1e-12));
    at_floor += std::abs(std::log1p(std::exp(v)) - 0.05) < 1e-9;
  }
  EXPECT_GT(at_floor, 90);  // ln(50) / ln(100) of 128
}

TEST(MambaInitialisation, StepSizeInATransformerBlockKeepsItsStartOnlySoundly) {
  for (const double v : initial("dt_proj.bias", {"", {}, true, 64, true}))
    EXPECT_EQ(v, 0);
  for (const double v : initial("dt_proj.bias", {"", {}, false, 64, true}))
    EXPECT_LT(v, -2);
}

/// The text of the error that making the mixer throws.
std::string refusal(const Values& options) {
  try {
    make({"", options, false, 8});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "accepted";
}

TEST(MambaOptions, WrongOnesAreRefused) {
  EXPECT_NE(refusal({{"d_states", 8L}}).find("d_state"), std::string::npos);
  EXPECT_NE(refusal({{"d_state", 0L}}).find("d_state"), std::string::npos);
  EXPECT_NE(refusal({{"dt_min", 0.2}}).find("dt_min = 0.2"), std::string::npos);
  EXPECT_NE(refusal({{"dt_init", "randm"}}).find("random"), std::string::npos);
  EXPECT_NE(refusal({{"dt_rank", -1L}}).find("dt_rank"), std::string::npos);
}

}  // namespace
}  // namespace recallbench::testing
