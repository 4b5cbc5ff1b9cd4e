// h3: fast form against definition, rows, gradients, causality, state, initial values, options.
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
};

void PrintTo(const Config& c, std::ostream* out) {
  *out << c.label;
}

MadeMixer make(const Config& c) {
  MixerContext context;
  context.d_model = c.d_model;
  context.n_layers = 2;
  context.zoology = c.zoology;
  return make_mixer("h3", c.options, context);
}

void expect_at_most(double error, double bound, const std::string& what) {
  if (!(error <= bound)) ADD_FAILURE() << what << ": error " << error << " over bound " << bound;
}

class H3Forms : public ::testing::TestWithParam<Config> {
 protected:
  void SetUp() override { set_memory_poisoning(true); }
  void TearDown() override { set_memory_poisoning(false); }
};

TEST_P(H3Forms, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = perturbed_parameters(made.specs, 3, 0.5);
  for (const Index length : {1, 2, 13, 70}) {
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

TEST_P(H3Forms, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = perturbed_parameters(made.specs, 4, 0.5);
  MixerInput input = random_input(2, 21, GetParam().d_model, 6);
  std::string worst = "everything";
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "all rows, " + worst);
  input.positions = {10, 3, 0, 20, 2, 2};
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "labelled rows, " + worst);
}

TEST_P(H3Forms, AChangedTokenLeavesEarlierOutputsUnchanged) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = perturbed_parameters(made.specs, 3, 0.5);
  const Index d = GetParam().d_model, changed = 30;
  const MixerInput input = random_input(1, 40, d, 5);
  MixerInput other = input;
  for (Index j = 0; j < d; ++j)
    other.x[static_cast<std::size_t>(changed * d + j)] += 3;
  const std::vector<double> before = run_mixer<float>(made, parameters, input, false).y;
  const std::vector<double> after = run_mixer<float>(made, parameters, other, false).y;
  const auto here = before.begin() + changed * d;
  EXPECT_TRUE(std::equal(before.begin(), here, after.begin()));
  EXPECT_FALSE(std::equal(here, here + d, after.begin() + changed * d));
}

INSTANTIATE_TEST_SUITE_P(
    All, H3Forms,
    ::testing::Values(
        Config{"default_sound", {}, false, 6},
        Config{"heads_of_two", {{"d_state", 10L}, {"head_dim", 2L}}, true, 6},
        Config{"one_head", {{"d_state", 2L}, {"head_dim", 3L}, {"l_max", 70L}}, false, 3},
        // Two blocks of modes, the second not full.
        Config{"many_modes", {{"d_state", 38L}, {"head_dim", 5L}}, false, 5}),
    [](const auto& info) { return info.param.label; });

TEST(H3State, IsTheShiftRegisterAndTheModesOfAllProducts) {
  const MadeMixer made = make({"", {{"d_state", 8L}, {"head_dim", 3L}}, false, 6});
  for (const Index length : {1, 20}) {
    Index counted = -1;
    fold_decoder(made, perturbed_parameters(made.specs, 1, 0.1), random_input(1, length, 6, 2),
                 &counted);
    EXPECT_EQ(counted, 6 * 7 + 6 * 3 * 8) << length;
  }
}

TEST(H3Model, CountsAndStateOfTheReference) {
  for (const auto& [d, numbers, bytes] :
       {std::tuple{64, 565632, 8192}, {128, 1211136, 32768}, {256, 2741760, 131072}}) {
    ModelConfig config;
    config.zoology = true;
    config.d_model = d;
    config.layers = {{"h3", {{"d_state", std::int64_t{d / 4}}, {"head_dim", std::int64_t{2}}}, ""}};
    const Model model(config, DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
    EXPECT_EQ(model.published_state_bytes(1024), bytes);
  }
}

std::vector<double> initial(const std::string& name, const Config& config) {
  const MadeMixer made = make(config);
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

TEST(H3Initialisation, FixedNumbers) {
  const Config config{"", {{"d_state", 6L}, {"head_dim", 2L}}, false, 4};
  EXPECT_EQ(initial("ssm_k_kernel.kernel.B", config),
            (std::vector<double>{1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0,
                                 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(initial("kernel.kernel.B", config),
            (std::vector<double>{1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(initial("kernel.kernel.inv_A_real", config), std::vector<double>(6, std::log(0.5)));
  const double pi = 3.14159265358979323846;
  EXPECT_EQ(initial("kernel.kernel.A_imag", config),
            (std::vector<double>{0, pi, 2 * pi, 0, pi, 2 * pi}));
}

TEST(H3Initialisation, Distributions) {
  const Config config{"", {{"d_state", 64L}}, false, 256};
  EXPECT_NEAR(deviation(initial("ssm_k_kernel.kernel.C", config)), 0.125 / std::sqrt(3.0), 0.002);
  EXPECT_NEAR(deviation(initial("kernel.kernel.C", config)), std::sqrt(0.5), 0.02);
  EXPECT_NEAR(deviation(initial("ssm_k_D", config)), 1, 0.1);
  for (const double v : initial("kernel.kernel.log_dt", config)) {
    EXPECT_GE(v, std::log(0.001));
    EXPECT_LE(v, std::log(0.1));
  }
}

// Q5: the reference does not know this name of a projection into the residual stream.
TEST(H3Initialisation, OutputIsScaledWithTheDepthOnlySoundly) {
  EXPECT_NEAR(deviation(initial("output_linear.weight", {"", {}, false, 128})), 0.01, 0.0005);
  EXPECT_NEAR(deviation(initial("output_linear.weight", {"", {}, true, 128})), 0.02, 0.001);
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

TEST(H3Options, WrongOnesAreRefused) {
  EXPECT_NE(refusal({{"d_states", 8L}}).find("d_state"), std::string::npos);
  EXPECT_NE(refusal({{"d_state", 7L}}).find("even"), std::string::npos);
  EXPECT_NE(refusal({{"head_dim", 3L}}).find("divide d_model = 8"), std::string::npos);
}

TEST(H3Options, SequencesBeyondLMaxAreRefused) {
  const MadeMixer made = make({"", {{"l_max", 8L}}, false, 4});
  const HostParameters parameters = perturbed_parameters(made.specs, 1, 0.1);
  const MixerInput input = random_input(1, 9, 4, 2);
  EXPECT_THROW(run_mixer<float>(made, parameters, input, false), Error);
  EXPECT_THROW(fold_decoder(made, parameters, input), Error);
}

}  // namespace
}  // namespace recallbench::testing
