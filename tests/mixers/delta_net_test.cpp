// delta_net and gated_delta_net: state, parameters, initial values, options, extreme decays, and
// how the two forms of compat differ. Forms, gradients and causality are the contract's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "mixers/model.h"
#include "mixers/obligations/lone_mixer.h"
#include "mixers/registry.h"

namespace recallbench::testing {
namespace {

MadeMixer make(const std::string& mixer, const Values& options, bool zoology = false,
               Index d_model = 8) {
  return make_mixer(mixer, options, {1, 2, d_model, zoology, true});
}

/// Layers as in the reference's Figure 2: a short convolution, then the mixer with two heads.
ModelConfig hybrid(const std::string& mixer, Index d) {
  ModelConfig config;
  config.zoology = true;
  config.d_model = d;
  config.layers.resize(2);
  config.layers[0].mixer = "base_conv";
  config.layers[0].options = {{"kernel_size", std::int64_t{3}}};
  config.layers[1].mixer = mixer;
  config.layers[1].options = {{"num_heads", std::int64_t{2}}, {"use_gate", false}};
  return config;
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

Index state_numbers(const std::string& mixer, const Values& options, Index length) {
  const MadeMixer made = make(mixer, options);
  Index numbers = -1;
  fold_decoder(made, random_parameters(made.specs, 1, 0.1), random_input(1, length, 8, 2),
               &numbers);
  return numbers;
}

TEST(DeltaNetState, IsTheMatrixAndTheWindows) {
  EXPECT_EQ(state_numbers("delta_net", {}, 1), 64 + 24 * 3);
  EXPECT_EQ(state_numbers("delta_net", {{"num_heads", 2L}, {"conv_size", 2L}}, 9), 2 * 16 + 24);
  EXPECT_EQ(state_numbers("delta_net", {{"use_short_conv", false}}, 9), 64);
  EXPECT_EQ(state_numbers("gated_delta_net", {{"num_heads", 4L}}, 9), 4 * 2 * 4 + 32 * 3);
}

std::map<std::string, std::vector<Index>> shapes(const MadeMixer& made) {
  std::map<std::string, std::vector<Index>> all;
  for (const ParameterSpec& spec : made.specs)
    all[spec.name] = spec.shape;
  return all;
}

TEST(DeltaNetParameters, NamesAndShapes) {
  using Shapes = std::map<std::string, std::vector<Index>>;
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

std::vector<double> initial(const std::string& name, bool zoology) {
  const MadeMixer made = make("gated_delta_net", {{"num_heads", 256L}}, zoology, 256);
  Parameters parameters(made.specs, DType::f64, 1);
  parameters.initialise(0, 7);
  return parameters.get(parameters.find(name), 0);
}

double deviation(const std::vector<double>& values) {
  double square = 0;
  for (const double v : values)
    square += v * v / static_cast<double>(values.size());
  return std::sqrt(square);
}

TEST(DeltaNetInitialisation, Distributions) {
  EXPECT_NEAR(deviation(initial("q_proj.weight", true)), 0.02, 0.0005);
  EXPECT_NEAR(deviation(initial("q_conv1d.weight", true)), 0.5 / std::sqrt(3.0), 0.015);
  for (const double v : initial("o_norm.weight", true))
    EXPECT_EQ(v, 1);
  double mean = 0;
  for (const double v : initial("A_log", true)) {
    EXPECT_GT(std::exp(v), 0);
    EXPECT_LT(std::exp(v), 16);
    mean += std::exp(v) / 256;
  }
  EXPECT_NEAR(mean, 8, 1);
  for (const double v : initial("dt_bias", true)) {
    EXPECT_GE(std::log1p(std::exp(v)), 0.001 * (1 - 1e-9));
    EXPECT_LE(std::log1p(std::exp(v)), 0.1 * (1 + 1e-9));
  }
}

// Quirk Q5.
TEST(DeltaNetInitialisation, TheOutputIsScaledWithTheDepthOnlySoundly) {
  EXPECT_NEAR(deviation(initial("o_proj.weight", true)), 0.02, 0.0005);
  EXPECT_NEAR(deviation(initial("o_proj.weight", false)), 0.01, 0.0003);
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

/// The text of the error that making the mixer throws.
std::string refusal(const std::string& mixer, const Values& options) {
  try {
    make(mixer, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "accepted";
}

TEST(DeltaNetOptions, WrongOnesAreRefused) {
  EXPECT_NE(refusal("delta_net", {{"num_heads", 3L}}).find("must divide expand_k d_model"),
            std::string::npos);
  EXPECT_NE(refusal("delta_net", {{"num_heads", 2L}, {"expand_v", 1.1}}).find("expand_v d_model"),
            std::string::npos);
  EXPECT_NE(refusal("delta_net", {{"qk_activation", "silo"}}).find("silu"), std::string::npos);
  EXPECT_NE(refusal("delta_net", {{"qk_norm", "sum"}}).find("elu"), std::string::npos);
  EXPECT_NE(refusal("delta_net", {{"use_betta", true}}).find("use_beta"), std::string::npos);
  EXPECT_NE(refusal("gated_delta_net", {{"use_beta", true}}).find("use_beta"), std::string::npos);
  EXPECT_NE(refusal("gated_delta_net", {{"num_heads", 5L}}).find("must divide d_model"),
            std::string::npos);
}

}  // namespace
}  // namespace recallbench::testing
