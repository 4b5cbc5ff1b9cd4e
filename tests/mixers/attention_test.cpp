// attention and sliding_window: fast form against definition, rows, gradients, causality, state.
#include <gtest/gtest.h>

#include <algorithm>

#include "mixers/obligations/lone_mixer.h"
#include "mixers/registry.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

struct Config {
  std::string label, mixer;
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
  return make_mixer(c.mixer, c.options, context);
}

void expect_at_most(double error, double bound, const std::string& what) {
  if (!(error <= bound)) ADD_FAILURE() << what << ": error " << error << " over bound " << bound;
}

class AttentionMixers : public ::testing::TestWithParam<Config> {
 protected:
  void SetUp() override { set_memory_poisoning(true); }
  void TearDown() override { set_memory_poisoning(false); }
};

TEST_P(AttentionMixers, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  for (const Index length : {1, 2, 13, 77}) {
    const MixerInput input = random_input(2, length, GetParam().d_model, 5);
    const std::vector<double> folded = fold_decoder(made, parameters, input);
    const auto error = [&](const MixerRun& run) { return relative_error(run.y, folded); };
    for (const bool training : {false, true}) {
      expect_at_most(error(run_mixer<double>(made, parameters, input, training)), 1e-10,
                     fmt::format("double, L = {}", length));
      expect_at_most(error(run_mixer<float>(made, parameters, input, training)), 2e-5,
                     fmt::format("float, L = {}", length));
    }
  }
}

TEST_P(AttentionMixers, LabelledRowsAreThoseOfForward) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  MixerInput input = random_input(2, 13, GetParam().d_model, 5);
  const std::vector<double> all = run_mixer<double>(made, parameters, input, false).y;
  input.positions = {12, 3, 0, 7, 7, 0, 1, 12, 5, 0};
  expect_at_most(
      relative_error(run_mixer<double>(made, parameters, input, true).y, rows_at(all, input)),
      1e-12, "rows");
}

TEST_P(AttentionMixers, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 4, 0.5);
  MixerInput input = random_input(2, 11, GetParam().d_model, 6);
  std::string worst = "everything";
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "all rows, " + worst);
  input.positions = {10, 3, 0, 4, 2, 2};
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "labelled rows, " + worst);
}

TEST_P(AttentionMixers, AChangedTokenLeavesEarlierOutputsUnchanged) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  const Index d = GetParam().d_model, length = 80, changed = 66;
  const MixerInput input = random_input(1, length, d, 5);
  MixerInput other = input;
  for (Index j = 0; j < d; ++j)
    other.x[static_cast<std::size_t>(changed * d + j)] += 3;
  const std::vector<double> before = run_mixer<float>(made, parameters, input, false).y;
  const std::vector<double> after = run_mixer<float>(made, parameters, other, false).y;
  const auto here = before.begin() + changed * d;
  EXPECT_TRUE(std::equal(before.begin(), here, after.begin()));
  EXPECT_FALSE(std::equal(here, here + d, after.begin() + changed * d));
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
        Config{"attention", "attention", {}, false, 8},
        Config{"attention_zoology", "attention", {{"num_heads", 2L}}, true, 8},
        Config{"three_heads", "attention", {{"num_heads", 3L}, {"bias", false}}, false, 9},
        Config{"no_bias_zoology", "attention", {{"bias", false}}, true, 4},
        Config{"window", "sliding_window", {{"block_size", 4L}}, false, 8},
        Config{"window_zoology", "sliding_window", {{"block_size", 4L}}, true, 8},
        Config{"window_of_one", "sliding_window", {{"block_size", 1L}, {"bias", false}}, false, 5},
        Config{"window_default", "sliding_window", {}, false, 6}),
    [](const auto& info) { return info.param.label; });

/// Numbers carried after `length` tokens.
Index state_numbers(const std::string& mixer, const Values& options, bool zoology, Index length) {
  const MadeMixer made = make({"", mixer, options, zoology, 6});
  Index numbers = -1;
  fold_decoder(made, random_parameters(made.specs, 1, 0.1), random_input(1, length, 6, 2),
               &numbers);
  return numbers;
}

TEST(AttentionState, IsTheCache) {
  EXPECT_EQ(state_numbers("attention", {{"num_heads", 2L}}, false, 9), 2 * 6 * 9);
  const Values window{{"block_size", 4L}};
  EXPECT_EQ(state_numbers("sliding_window", window, true, 3), 2 * 6 * 3);
  EXPECT_EQ(state_numbers("sliding_window", window, true, 9), 2 * 6 * 4);
  EXPECT_EQ(state_numbers("sliding_window", window, false, 9), 2 * 6 * 3);
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

/// The text of the error that making the mixer throws.
std::string refusal(const std::string& mixer, const Values& options, bool zoology) {
  try {
    make({"", mixer, options, zoology, 8});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "accepted";
}

TEST(AttentionOptions, WrongOnesAreRefused) {
  EXPECT_NE(refusal("attention", {{"num_heads", 3L}}, false).find("divide"), std::string::npos);
  EXPECT_NE(refusal("attention", {{"dropout", 1.0}}, false).find("below 1"), std::string::npos);
  EXPECT_NE(refusal("attention", {{"num_head", 2L}}, false).find("num_heads"), std::string::npos);
  EXPECT_NE(refusal("sliding_window", {{"block_size", 0L}}, false).find("block_size"),
            std::string::npos);
  EXPECT_NE(
      refusal("sliding_window", {{"attention_dropout", 0.1}}, false).find("attention_dropout"),
      std::string::npos);
  EXPECT_EQ(refusal("sliding_window", {{"attention_dropout", 0.1}}, true), "accepted");
}

TEST(AttentionParameters, NamesAndShapes) {
  const MadeMixer made = make({"", "sliding_window", {}, true, 8});
  std::map<std::string, std::vector<Index>> shapes;
  for (const ParameterSpec& spec : made.specs)
    shapes[spec.name] = spec.shape;
  EXPECT_EQ(shapes, (std::map<std::string, std::vector<Index>>{{"Wqkv.weight", {24, 8}},
                                                               {"Wqkv.bias", {24}},
                                                               {"out_proj.weight", {8, 8}},
                                                               {"out_proj.bias", {8}}}));
  EXPECT_EQ(make({"", "attention", {{"bias", false}}, true, 8}).specs.size(), 3u);
  EXPECT_EQ(make({"", "attention", {{"bias", false}}, false, 8}).specs.size(), 2u);
}

}  // namespace
}  // namespace recallbench::testing
