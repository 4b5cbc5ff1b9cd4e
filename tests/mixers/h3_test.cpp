// h3: fast form against definition, rows, gradients, causality, state, initial values, options.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

class H3Forms : public MixerForms {};

TEST_P(H3Forms, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  expect_forward_is_the_fold(made, perturbed_parameters(made.specs, 3, 0.5), {1, 2, 13, 70});
}

TEST_P(H3Forms, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  expect_gradients(made, perturbed_parameters(made.specs, 4, 0.5), 21, {10, 3, 0, 20, 2, 2});
}

TEST_P(H3Forms, AChangedTokenLeavesEarlierOutputsUnchanged) {
  const MadeMixer made = make(GetParam());
  expect_causal(made, perturbed_parameters(made.specs, 3, 0.5), 40, 30);
}

INSTANTIATE_TEST_SUITE_P(
    All, H3Forms,
    ::testing::Values(
        MixerConfig{"default_sound", "h3", {}, false, 6},
        MixerConfig{"heads_of_two", "h3", {{"d_state", 10L}, {"head_dim", 2L}}, true, 6},
        MixerConfig{
            "one_head", "h3", {{"d_state", 2L}, {"head_dim", 3L}, {"l_max", 70L}}, false, 3},
        // Two blocks of modes, the second not full.
        MixerConfig{"many_modes", "h3", {{"d_state", 38L}, {"head_dim", 5L}}, false, 5}),
    [](const auto& info) { return info.param.label; });

TEST(H3State, IsTheShiftRegisterAndTheModesOfAllProducts) {
  const MadeMixer made = make({"", "h3", {{"d_state", 8L}, {"head_dim", 3L}}, false, 6});
  for (const Index length : {1, 20})
    EXPECT_EQ(state_numbers(made, length), 6 * 7 + 6 * 3 * 8) << length;
}

TEST(H3Model, CountsAndStateOfTheReference) {
  for (const auto& [d, numbers, bytes] :
       {std::tuple{64, 565632, 8192}, {128, 1211136, 32768}, {256, 2741760, 131072}}) {
    const Model model(
        reference_model(
            d, {{"h3", {{"d_state", std::int64_t{d / 4}}, {"head_dim", std::int64_t{2}}}, ""}}),
        DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
    EXPECT_EQ(model.published_state_bytes(1024), bytes);
  }
}

TEST(H3Initialisation, FixedNumbers) {
  const MadeMixer made = make({"", "h3", {{"d_state", 6L}, {"head_dim", 2L}}, false, 4});
  EXPECT_EQ(initial("ssm_k_kernel.kernel.B", made),
            (std::vector<double>{1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0,
                                 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(initial("kernel.kernel.B", made),
            (std::vector<double>{1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(initial("kernel.kernel.inv_A_real", made), std::vector<double>(6, std::log(0.5)));
  const double pi = 3.14159265358979323846;
  EXPECT_EQ(initial("kernel.kernel.A_imag", made),
            (std::vector<double>{0, pi, 2 * pi, 0, pi, 2 * pi}));
}

TEST(H3Initialisation, Distributions) {
  const MadeMixer made = make({"", "h3", {{"d_state", 64L}}, false, 256});
  EXPECT_NEAR(deviation(initial("ssm_k_kernel.kernel.C", made)), 0.125 / std::sqrt(3.0), 0.002);
  EXPECT_NEAR(deviation(initial("kernel.kernel.C", made)), std::sqrt(0.5), 0.02);
  EXPECT_NEAR(deviation(initial("ssm_k_D", made)), 1, 0.1);
  for (const double v : initial("kernel.kernel.log_dt", made)) {
    EXPECT_GE(v, std::log(0.001));
    EXPECT_LE(v, std::log(0.1));
  }
}

// Q5: the reference does not know this name of a projection into the residual stream.
TEST(H3Initialisation, OutputIsScaledWithTheDepthOnlySoundly) {
  EXPECT_NEAR(deviation(initial("output_linear.weight", make({"", "h3", {}, false, 128}))), 0.01,
              0.0005);
  EXPECT_NEAR(deviation(initial("output_linear.weight", make({"", "h3", {}, true, 128}))), 0.02,
              0.001);
}

TEST(H3Options, WrongOnesAreRefused) {
  expect_refused({"", "h3", {{"d_states", 8L}}}, "d_state");
  expect_refused({"", "h3", {{"d_state", 7L}}}, "even");
  expect_refused({"", "h3", {{"head_dim", 3L}}}, "divide d_model = 8");
}

TEST(H3Options, SequencesBeyondLMaxAreRefused) {
  const MadeMixer made = make({"", "h3", {{"l_max", 8L}}, false, 4});
  expect_sequence_refused(made, 9);
  const auto l_max = std::find_if(made.described.begin(), made.described.end(),
                                  [](const OptionInfo& info) { return info.key == "l_max"; });
  EXPECT_EQ(l_max->kind, OptionKind::length) << "so that those who draw options do not bound it";
}

}  // namespace
}  // namespace recallbench::testing
