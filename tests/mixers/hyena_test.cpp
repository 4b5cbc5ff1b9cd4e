// hyena: fast form against definition, rows, gradients, state, both forms' filters, options.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

class HyenaForms : public MixerForms {};

TEST_P(HyenaForms, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  expect_forward_is_the_fold(made, perturbed_parameters(made.specs, 3, 0.5), {1, 2, 13, 40});
}

TEST_P(HyenaForms, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  expect_gradients(made, perturbed_parameters(made.specs, 4, 0.5), 21, {10, 3, 0, 20, 2, 2});
}

INSTANTIATE_TEST_SUITE_P(
    All, HyenaForms,
    ::testing::Values(MixerConfig{"default_sound", "hyena", {{"l_max", 40L}}, false, 6},
                      MixerConfig{"default_zoology", "hyena", {{"l_max", 40L}}, true, 6},
                      MixerConfig{"all_options",
                                  "hyena",
                                  {{"l_max", 41L},
                                   {"filter_order", 5L},
                                   {"short_filter_order", 2L},
                                   {"emb_dim", 7L},
                                   {"num_inner_mlps", 1L},
                                   {"w", 3.0},
                                   {"fast_decay_pct", 0.2},
                                   {"slow_decay_pct", 0.9},
                                   {"target", 0.1},
                                   {"shift", 0.3}},
                                  true,
                                  5},
                      MixerConfig{"bare",
                                  "hyena",
                                  {{"l_max", 50L},
                                   {"filter_order", 1L},
                                   {"short_filter_order", 1L},
                                   {"num_inner_mlps", 0L},
                                   {"modulate", false},
                                   {"bias", false}},
                                  false,
                                  1}),
    [](const auto& info) { return info.param.label; });

TEST(HyenaState, IsTheHistoryAndTheShortConvolutionsWindow) {
  const MadeMixer made = make({"", "hyena", {{"l_max", 16L}}, false, 6});
  for (const auto& [length, numbers] : {std::pair{1, 36}, {2, 36 + 6}, {16, 36 + 6 * 15}})
    EXPECT_EQ(state_numbers(made, length), numbers) << length;
}

TEST(HyenaModel, CountsAndStateOfTheReference) {
  for (const auto& [d, numbers, bytes] :
       {std::tuple{64, 591488, 524288}, {128, 1225088, 1048576}, {256, 2688896, 2097152}}) {
    const Model model(reference_model(d, {{"hyena", {{"l_max", std::int64_t{1024}}}, ""}}),
                      DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
    EXPECT_EQ(model.published_state_bytes(1024), bytes);
  }
}

/// Initial values of one of the filter's parameters, of 16 channels and 101 positions.
std::vector<double> filter(const std::string& name, const MadeMixer& made) {
  return initial("filter_fn." + name, made);
}

TEST(HyenaInitialisation, FixedNumbers) {
  for (const bool zoology : {false, true}) {
    const MadeMixer made = make({"", "hyena", {{"l_max", 101L}, {"w", 2.5}}, zoology, 16});
    const std::vector<double> rates = filter("modulation.deltas", made);
    EXPECT_NEAR(rates.front(), -3.0701134573, 1e-9);
    EXPECT_NEAR(rates.back(), -15.3505672866, 1e-9);
    EXPECT_NEAR(rates[1] - rates[0], rates[15] - rates[14], 1e-12);
    EXPECT_EQ(filter("pos_emb.t", made)[25], 0.25);
    for (const double v : filter("implicit_filter.1.freq", made))
      EXPECT_EQ(v, 2.5);
  }
}

// Q16: under compat the cosine and sine of a single band hardly move.
TEST(HyenaInitialisation, PositionFeatures) {
  const std::vector<double> sound =
      filter("pos_emb.z", make({"", "hyena", {{"l_max", 101L}}, false, 16}));
  const std::vector<double> faithful =
      filter("pos_emb.z", make({"", "hyena", {{"l_max", 101L}}, true, 16}));
  EXPECT_EQ(sound[3 * 50], 0.5);
  EXPECT_LT(*std::min_element(sound.begin(), sound.end()), -0.99);
  EXPECT_EQ(faithful[3 * 50], 0.5);
  EXPECT_NEAR(faithful[3 * 100 + 1], 1, 2e-7);
  EXPECT_NEAR(faithful[3 * 100 + 2], -1e-4 * 2 * 3.14159265 * 100 / 101, 1e-9);
  const std::vector<double> bands =
      filter("pos_emb.z", make({"", "hyena", {{"l_max", 101L}, {"emb_dim", 7L}}, true, 16}));
  for (const int i : {0, 1, 2}) {  // linspace(1e-4, 2, 3)
    const double angle = (1e-4 + i * (2 - 1e-4) / 2) * 2 * 3.141592653589793 * 10 / 101;
    EXPECT_NEAR(bands[static_cast<std::size_t>(7 * 10 + 1 + i)], std::cos(angle), 1e-12);
    EXPECT_NEAR(bands[static_cast<std::size_t>(7 * 10 + 4 + i)], -std::sin(angle), 1e-12);
  }
}

// Q7: the reference's filter is almost zero at the start. Q18: it trains z.
TEST(HyenaInitialisation, NetworkAndTrainedFeatures) {
  for (const bool zoology : {false, true}) {
    const MadeMixer made = make({"", "hyena", {{"l_max", 101L}}, zoology, 16});
    // 1/8 of U, or five times 0.02.
    EXPECT_EQ(largest(filter("implicit_filter.2.weight", made)) < 0.11, zoology);
    for (const double v : filter("implicit_filter.2.bias", made))
      EXPECT_EQ(v == 0, zoology);
    for (const ParameterSpec& spec : made.specs)
      EXPECT_TRUE(spec.name != "filter_fn.pos_emb.z" || spec.trainable == zoology);
  }
}

TEST(HyenaOptions, WrongOnesAreRefused) {
  expect_refused({"", "hyena", {{"lmax", 8L}}}, "l_max");
  expect_refused({"", "hyena", {{"emb_dim", 4L}}}, "odd");
  expect_refused({"", "hyena", {{"num_heads", 2L}}}, "num_heads");
  expect_refused({"", "hyena", {{"normalized", true}}}, "normalized");
}

TEST(HyenaOptions, SequencesBeyondLMaxAreRefused) {
  const MadeMixer made = make({"", "hyena", {{"l_max", 8L}}, false, 4});
  expect_sequence_refused(made, 9);
}

}  // namespace
}  // namespace recallbench::testing
