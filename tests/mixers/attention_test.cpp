// attention and sliding_window: fast form against definition, rows, gradients, causality, state.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

class AttentionMixers : public MixerForms {};

TEST_P(AttentionMixers, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  expect_forward_is_the_fold(made, random_parameters(made.specs, 3, 0.5), {1, 2, 13, 77});
}

TEST_P(AttentionMixers, LabelledRowsAreThoseOfForward) {
  const MadeMixer made = make(GetParam());
  expect_labelled_rows(made, random_parameters(made.specs, 3, 0.5));
}

TEST_P(AttentionMixers, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  expect_gradients(made, random_parameters(made.specs, 4, 0.5), 11, {10, 3, 0, 4, 2, 2});
}

TEST_P(AttentionMixers, AChangedTokenLeavesEarlierOutputsUnchanged) {
  const MadeMixer made = make(GetParam());
  expect_causal(made, random_parameters(made.specs, 3, 0.5), 80, 66);
}

// A query that is not a number, while keys and values are: the exponentials must not swallow it.
TEST_P(AttentionMixers, NotANumberIsNotHidden) {
  const MadeMixer made = make(GetParam());
  auto values = random_parameters(made.specs, 3, 0.5).all();
  values.at("Wqkv.weight")[0] = NAN;
  const MixerInput input = random_input(1, 6, GetParam().d_model, 5);
  const std::vector<double> y = run_mixer<float>(made, HostParameters(values), input, false).y;
  for (const double number : y)
    EXPECT_TRUE(std::isnan(number));
}

INSTANTIATE_TEST_SUITE_P(
    All, AttentionMixers,
    ::testing::Values(
        MixerConfig{"attention", "attention", {}, false, 8},
        MixerConfig{"attention_zoology", "attention", {{"num_heads", 2L}}, true, 8},
        MixerConfig{"three_heads", "attention", {{"num_heads", 3L}, {"bias", false}}, false, 9},
        MixerConfig{"no_bias_zoology", "attention", {{"bias", false}}, true, 4},
        MixerConfig{"window", "sliding_window", {{"block_size", 4L}}, false, 8},
        MixerConfig{"window_zoology", "sliding_window", {{"block_size", 4L}}, true, 8},
        MixerConfig{
            "window_of_one", "sliding_window", {{"block_size", 1L}, {"bias", false}}, false, 5},
        MixerConfig{"window_default", "sliding_window", {}, false, 6}),
    [](const auto& info) { return info.param.label; });

TEST(AttentionState, IsTheCache) {
  EXPECT_EQ(state_numbers(make({"", "attention", {{"num_heads", 2L}}, false, 6}), 9), 2 * 6 * 9);
  const Values window{{"block_size", 4L}};
  EXPECT_EQ(state_numbers(make({"", "sliding_window", window, true, 6}), 3), 2 * 6 * 3);
  EXPECT_EQ(state_numbers(make({"", "sliding_window", window, true, 6}), 9), 2 * 6 * 4);
  EXPECT_EQ(state_numbers(make({"", "sliding_window", window, false, 6}), 9), 2 * 6 * 3);
}

TEST(AttentionState, PublishedBytes) {
  const MadeMixer attention = make({"", "attention", {{"num_heads", 2L}}, true, 16});
  EXPECT_EQ(2 * attention.mixer->published_state_size(16).value(), 4096);
  const MadeMixer window = make({"", "sliding_window", {{"block_size", 4L}}, true, 16});
  EXPECT_EQ(2 * window.mixer->published_state_size(16).value(), 1024);
}

TEST(SlidingWindow, SeesItsLastKeysAlone) {
  for (const bool zoology : {false, true}) {
    const MadeMixer made = make({"", "sliding_window", {{"block_size", 4L}}, zoology, 6});
    const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
    const MixerInput input = random_input(1, 70, 6, 5);
    const std::vector<double> before = run_mixer<float>(made, parameters, input, false).y;
    MixerInput other = input;
    other.x[60 * 6] += 1;
    const std::vector<double> after = run_mixer<float>(made, parameters, other, false).y;
    const Index last = zoology ? 64 : 63;  // the last query that sees token 60
    for (Index t = 0; t < 70; ++t) {
      const auto row = before.begin() + t * 6;
      EXPECT_EQ(std::equal(row, row + 6, after.begin() + t * 6), t < 60 || t > last) << t;
    }
  }
}

TEST(AttentionDropout, ActsInTrainingAndAlikeOnLabelledRows) {
  const MadeMixer made = make({"", "attention", {{"num_heads", 2L}, {"dropout", 0.4}}, false, 8});
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  MixerInput input = random_input(2, 13, 8, 5);
  const std::vector<double> trained = run_mixer<double>(made, parameters, input, true).y;
  const std::vector<double> evaluated = run_mixer<double>(made, parameters, input, false).y;
  EXPECT_GT(relative_error(trained, evaluated), 0.05);
  expect_at_most(relative_error(evaluated, fold_decoder(made, parameters, input)), 1e-10,
                 "decoder");
  std::string worst = "everything";
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, worst);
  input.positions = {12, 3, 0, 7, 0, 1};
  expect_at_most(
      relative_error(run_mixer<double>(made, parameters, input, true).y, rows_at(trained, input)),
      1e-12, "rows");
}

TEST(AttentionOptions, WrongOnesAreRefused) {
  expect_refused({"", "attention", {{"num_heads", 3L}}}, "divide");
  expect_refused({"", "attention", {{"dropout", 1.0}}}, "below 1");
  expect_refused({"", "attention", {{"num_head", 2L}}}, "num_heads");
  expect_refused({"", "sliding_window", {{"block_size", 0L}}}, "block_size");
  expect_refused({"", "sliding_window", {{"attention_dropout", 0.1}}}, "attention_dropout");
  EXPECT_NO_THROW(make({"", "sliding_window", {{"attention_dropout", 0.1}}, true, 8}));
}

TEST(AttentionParameters, NamesAndShapes) {
  const MadeMixer made = make({"", "sliding_window", {}, true, 8});
  EXPECT_EQ(shapes(made), (Shapes{{"Wqkv.weight", {24, 8}},
                                  {"Wqkv.bias", {24}},
                                  {"out_proj.weight", {8, 8}},
                                  {"out_proj.bias", {8}}}));
  EXPECT_EQ(make({"", "attention", {{"bias", false}}, true, 8}).specs.size(), 3u);
  EXPECT_EQ(make({"", "attention", {{"bias", false}}, false, 8}).specs.size(), 2u);
}

}  // namespace
}  // namespace recallbench::testing
