// delta_net and gated_delta_net: state, parameters, initial values, options, extreme decays, and
// how the two forms of compat differ. Forms, gradients and causality are the contract's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

MadeMixer make(const std::string& mixer, const Values& options, bool zoology = false,
               Index d_model = 8) {
  return make(MixerConfig{"", mixer, options, zoology, d_model, 1});
}

/// Layers as in the reference's Figure 2: a short convolution, then the mixer with two heads.
ModelConfig hybrid(const std::string& mixer, Index d) {
  return reference_model(d, {{"base_conv", {{"kernel_size", std::int64_t{3}}}, ""},
                             {mixer, {{"num_heads", std::int64_t{2}}, {"use_gate", false}}, ""}});
}

TEST(DeltaNetState, PublishedBytesAndParametersAreTheReferences) {
  struct Golden {
    const char* mixer;
    Index d, parameters;
    double bytes;
  };
  for (const Golden& golden : {Golden{"delta_net", 64, 546656, 8960},
                               {"delta_net", 128, 1134272, 34304},
                               {"delta_net", 256, 2432384, 134144},
                               {"gated_delta_net", 64, 555270, 17152},
                               {"gated_delta_net", 128, 1167878, 67072},
                               {"gated_delta_net", 256, 2565126, 265216}}) {
    const Model model(hybrid(golden.mixer, golden.d), DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), golden.parameters) << golden.mixer;
    EXPECT_EQ(model.published_state_bytes(1024), golden.bytes) << golden.mixer;
  }
}

TEST(DeltaNetState, IsTheMatrixAndTheWindows) {
  EXPECT_EQ(state_numbers(make("delta_net", {}), 1), 64 + 24 * 3);
  EXPECT_EQ(state_numbers(make("delta_net", {{"num_heads", 2L}, {"conv_size", 2L}}), 9),
            2 * 16 + 24);
  EXPECT_EQ(state_numbers(make("delta_net", {{"use_short_conv", false}}), 9), 64);
  EXPECT_EQ(state_numbers(make("gated_delta_net", {{"num_heads", 4L}}), 9), 4 * 2 * 4 + 32 * 3);
}

TEST(DeltaNetParameters, NamesAndShapes) {
  EXPECT_EQ(shapes(make("delta_net", {{"num_heads", 2L}, {"expand_k", 0.5}, {"use_gate", true}})),
            (Shapes{{"q_proj.weight", {4, 8}},
                    {"k_proj.weight", {4, 8}},
                    {"v_proj.weight", {8, 8}},
                    {"b_proj.weight", {2, 8}},
                    {"g_proj.weight", {8, 8}},
                    {"q_conv1d.weight", {4, 1, 4}},
                    {"k_conv1d.weight", {4, 1, 4}},
                    {"v_conv1d.weight", {8, 1, 4}},
                    {"o_norm.weight", {4}},
                    {"o_proj.weight", {8, 8}}}));
  EXPECT_EQ(shapes(make("delta_net", {{"use_beta", false}, {"use_short_conv", false}})),
            (Shapes{{"q_proj.weight", {8, 8}},
                    {"k_proj.weight", {8, 8}},
                    {"v_proj.weight", {8, 8}},
                    {"o_norm.weight", {8}},
                    {"o_proj.weight", {8, 8}}}));
}

// The reference's D is never read.
TEST(DeltaNetParameters, TheDeadOneIsThereOnlyUnderCompat) {
  EXPECT_EQ(shapes(make("gated_delta_net", {{"num_heads", 2L}}, true)).count("D"), 1u);
  EXPECT_EQ(shapes(make("gated_delta_net", {{"num_heads", 2L}}, false)).count("D"), 0u);
}

/// Initial values of one parameter of a wide gated layer.
std::vector<double> wide(const std::string& name, bool zoology) {
  return initial(name, make("gated_delta_net", {{"num_heads", 256L}}, zoology, 256));
}

TEST(DeltaNetInitialisation, Distributions) {
  EXPECT_NEAR(deviation(wide("q_proj.weight", true)), 0.02, 0.0005);
  EXPECT_NEAR(deviation(wide("q_conv1d.weight", true)), 0.5 / std::sqrt(3.0), 0.015);
  for (const double v : wide("o_norm.weight", true))
    EXPECT_EQ(v, 1);
  double mean = 0;
  for (const double v : wide("A_log", true)) {
    EXPECT_GT(std::exp(v), 0);
    EXPECT_LT(std::exp(v), 16);
    mean += std::exp(v) / 256;
  }
  EXPECT_NEAR(mean, 8, 1);
  for (const double v : wide("dt_bias", true)) {
    EXPECT_GE(std::log1p(std::exp(v)), 0.001 * (1 - 1e-9));
    EXPECT_LE(std::log1p(std::exp(v)), 0.1 * (1 + 1e-9));
  }
}

// Quirk Q5.
TEST(DeltaNetInitialisation, TheOutputIsScaledWithTheDepthOnlySoundly) {
  EXPECT_NEAR(deviation(wide("o_proj.weight", true)), 0.02, 0.0005);
  EXPECT_NEAR(deviation(wide("o_proj.weight", false)), 0.01, 0.0003);
}

/// A gated layer whose heads' A_log are as given.
HostParameters with_rates(const MadeMixer& made, const std::vector<double>& a_log) {
  auto values = random_parameters(made.specs, 3, 0.5).all();
  values.at("A_log") = a_log;
  return HostParameters(std::move(values));
}

// A head that forgets everything at once, beside one that keeps everything, over three chunks.
TEST(DeltaNetDecay, ExtremesStayFiniteAndEqualTheDecoder) {
  const MadeMixer made = make("gated_delta_net", {{"num_heads", 2L}});
  const HostParameters parameters = with_rates(made, {12, -40});
  const MixerInput input = random_input(1, 80, 8, 5);
  const MixerRun run = run_mixer<float>(made, parameters, input, true);
  const double error = relative_error(run.y, fold_decoder(made, parameters, input));
  EXPECT_TRUE(error <= 5e-5) << error;
  for (const auto& [name, gradient] : run.gradients)
    EXPECT_TRUE(std::all_of(gradient.begin(), gradient.end(), [](double v) {
      return std::isfinite(v);
    })) << name;
  EXPECT_NEAR(run.gradients.at("A_log")[1], 0, 1e-12);
}

TEST(DeltaNetDecay, NotANumberIsNotHidden) {
  const MadeMixer made = make("gated_delta_net", {{"num_heads", 2L}});
  const MixerInput input = random_input(1, 6, 8, 5);
  for (const double number : run_mixer<float>(made, with_rates(made, {0, NAN}), input, false).y)
    EXPECT_TRUE(std::isnan(number));
}

TEST(DeltaNetOptions, WrongOnesAreRefused) {
  expect_refused({"", "delta_net", {{"num_heads", 3L}}}, "must divide expand_k d_model");
  expect_refused({"", "delta_net", {{"num_heads", 2L}, {"expand_v", 1.1}}}, "expand_v d_model");
  expect_refused({"", "delta_net", {{"qk_activation", "silo"}}}, "silu");
  expect_refused({"", "delta_net", {{"qk_norm", "sum"}}}, "elu");
  expect_refused({"", "delta_net", {{"use_betta", true}}}, "use_beta");
  expect_refused({"", "gated_delta_net", {{"use_beta", true}}}, "use_beta");
  expect_refused({"", "gated_delta_net", {{"num_heads", 5L}}}, "must divide d_model");
}

}  // namespace
}  // namespace recallbench::testing
