// mamba: fast form against definition, rows, gradients, causality, state, initial values, options.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

/// In its own block, unless said otherwise.
MixerConfig mamba(const std::string& label, const Values& options, bool zoology, Index d_model,
                  bool transformer_block = false) {
  return {label, "mamba", options, zoology, d_model, 0, transformer_block};
}

class MambaForms : public MixerForms {};

TEST_P(MambaForms, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  expect_forward_is_the_fold(made, random_parameters(made.specs, 3, 0.5), {1, 2, 13, 77});
}

TEST_P(MambaForms, LabelledRowsAreThoseOfForward) {
  const MadeMixer made = make(GetParam());
  expect_labelled_rows(made, random_parameters(made.specs, 3, 0.5));
}

TEST_P(MambaForms, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  expect_gradients(made, random_parameters(made.specs, 4, 0.5), 35, {10, 3, 0, 34, 2, 2});
}

TEST_P(MambaForms, AChangedTokenLeavesEarlierOutputsUnchanged) {
  const MadeMixer made = make(GetParam());
  expect_causal(made, random_parameters(made.specs, 3, 0.5), 80, 66);
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
        mamba("default_sound", {}, false, 6), mamba("default_zoology", {}, true, 6),
        mamba("two_ranks", {{"d_state", 8L}}, true, 20),
        mamba("all_options",
              {{"d_state", 3L}, {"d_conv", 2L}, {"expand", 3L}, {"dt_rank", 2L}, {"bias", true}},
              false, 5),
        mamba("bare", {{"d_state", 1L}, {"d_conv", 1L}, {"expand", 1L}, {"conv_bias", false}},
              false, 4),
        mamba("hybrid", {{"d_state", 5L}}, true, 4, true)),
    [](const auto& info) { return info.param.label; });

TEST(MambaState, IsTheScanAndTheConvolutionsWindow) {
  const auto numbers = [](const Values& options, Index length) {
    return state_numbers(make(mamba("", options, false, 6)), length);
  };
  EXPECT_EQ(numbers({}, 1), 12 * 16 + 12 * 3);
  EXPECT_EQ(numbers({}, 9), 12 * 16 + 12 * 3);
  EXPECT_EQ(numbers({{"d_state", 8L}, {"d_conv", 1L}, {"expand", 3L}}, 9), 18 * 8);
}

TEST(MambaState, PublishedBytes) {
  const auto two_layers = [](Index d, Index n) {
    return 2 * make(mamba("", {{"d_state", n}}, true, d)).mixer->published_state_size(1024).value();
  };
  EXPECT_EQ(two_layers(64, 8), 8192);
  EXPECT_EQ(two_layers(128, 16), 32768);
  EXPECT_EQ(two_layers(256, 24), 98304);
}

ModelConfig two_layers_of_mamba(bool zoology, Index d, Index states) {
  ModelConfig config = reference_model(d, {{"mamba", {{"d_state", states}}, ""}});
  config.zoology = zoology;
  config.block = "mamba";
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
  EXPECT_EQ(shapes(make(mamba("", {{"d_state", 8L}, {"bias", true}}, true, 20))),
            (Shapes{{"in_proj.weight", {80, 20}},
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

TEST(MambaInitialisation, Distributions) {
  for (const bool zoology : {false, true}) {
    const MadeMixer made = make(mamba("", {}, zoology, 64));  // d_inner 128, rank 4
    expect_uniform(initial("in_proj.weight", made), 1 / 8.0);
    expect_uniform(initial("conv1d.weight", made), 0.5);
    expect_uniform(initial("x_proj.weight", made), 1 / std::sqrt(128.0));
    expect_uniform(initial("dt_proj.weight", made), 0.5);
    expect_uniform(initial("out_proj.weight", made), 1 / std::sqrt(128.0) / std::sqrt(2.0));
    for (const double v : initial("D", made))
      EXPECT_EQ(v, 1);
    const std::vector<double> a_log = initial("A_log", made);
    for (std::size_t i = 0; i < a_log.size(); ++i)
      EXPECT_EQ(a_log[i], std::log(static_cast<double>(i % 16 + 1)));
    std::vector<double> logs;
    for (const double v : initial("dt_proj.bias", made))
      logs.push_back(std::log(std::log1p(std::exp(v))) - std::log(0.01));
    expect_uniform(logs, std::log(10.0));
  }
}

TEST(MambaInitialisation, StepSizeOptions) {
  const MadeMixer made = make(
      mamba("", {{"dt_init", "constant"}, {"dt_scale", 3.0}, {"dt_init_floor", 0.05}}, true, 64));
  for (const double v : initial("dt_proj.weight", made))
    EXPECT_EQ(v, 1.5);
  int at_floor = 0;
  for (const double v : initial("dt_proj.bias", made)) {
    EXPECT_GE(std::log1p(std::exp(v)), 0.05 * (1 - 1e-12));
    at_floor += std::abs(std::log1p(std::exp(v)) - 0.05) < 1e-9;
  }
  EXPECT_GT(at_floor, 90);  // ln(50) / ln(100) of 128
}

TEST(MambaInitialisation, StepSizeInATransformerBlockKeepsItsStartOnlySoundly) {
  for (const double v : initial("dt_proj.bias", make(mamba("", {}, true, 64, true))))
    EXPECT_EQ(v, 0);
  for (const double v : initial("dt_proj.bias", make(mamba("", {}, false, 64, true))))
    EXPECT_LT(v, -2);
}

TEST(MambaOptions, WrongOnesAreRefused) {
  expect_refused({"", "mamba", {{"d_states", 8L}}}, "d_state");
  expect_refused({"", "mamba", {{"d_state", 0L}}}, "d_state");
  expect_refused({"", "mamba", {{"dt_min", 0.2}}}, "dt_min = 0.2");
  expect_refused({"", "mamba", {{"dt_init", "randm"}}}, "random");
  expect_refused({"", "mamba", {{"dt_rank", -1L}}}, "dt_rank");
}

}  // namespace
}  // namespace recallbench::testing
