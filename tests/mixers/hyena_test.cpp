// hyena: fast form against definition, rows, gradients, state, both forms' filters, options.
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
  return make_mixer("hyena", c.options, context);
}

void expect_at_most(double error, double bound, const std::string& what) {
  if (!(error <= bound)) ADD_FAILURE() << what << ": error " << error << " over bound " << bound;
}

class HyenaForms : public ::testing::TestWithParam<Config> {
 protected:
  void SetUp() override { set_memory_poisoning(true); }
  void TearDown() override { set_memory_poisoning(false); }
};

TEST_P(HyenaForms, ForwardIsTheFoldOfTheDecoder) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = perturbed_parameters(made.specs, 3, 0.5);
  for (const Index length : {1, 2, 13, 40}) {
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

TEST_P(HyenaForms, GradientsEqualCentralDifferences) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = perturbed_parameters(made.specs, 4, 0.5);
  MixerInput input = random_input(2, 21, GetParam().d_model, 6);
  std::string worst = "everything";
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "all rows, " + worst);
  input.positions = {10, 3, 0, 20, 2, 2};
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "labelled rows, " + worst);
}

INSTANTIATE_TEST_SUITE_P(All, HyenaForms,
                         ::testing::Values(Config{"default_sound", {{"l_max", 40L}}, false, 6},
                                           Config{"default_zoology", {{"l_max", 40L}}, true, 6},
                                           Config{"all_options",
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
                                           Config{"bare",
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
  const MadeMixer made = make({"", {{"l_max", 16L}}, false, 6});
  for (const auto& [length, numbers] : {std::pair{1, 36}, {2, 36 + 6}, {16, 36 + 6 * 15}}) {
    Index counted = -1;
    fold_decoder(made, perturbed_parameters(made.specs, 1, 0.1), random_input(1, length, 6, 2),
                 &counted);
    EXPECT_EQ(counted, numbers) << length;
  }
}

TEST(HyenaModel, CountsAndStateOfTheReference) {
  for (const auto& [d, numbers, bytes] :
       {std::tuple{64, 591488, 524288}, {128, 1225088, 1048576}, {256, 2688896, 2097152}}) {
    ModelConfig config;
    config.zoology = true;
    config.d_model = d;
    config.layers = {{"hyena", {{"l_max", std::int64_t{1024}}}, ""}};
    const Model model(config, DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
    EXPECT_EQ(model.published_state_bytes(1024), bytes);
  }
}

/// Initial values of one parameter of 16 channels and 101 positions.
std::vector<double> initial(const std::string& name, const Config& config) {
  const MadeMixer made = make(config);
  Parameters parameters(made.specs, DType::f64, 1);
  parameters.initialise(0, 7);
  return parameters.get(parameters.find("filter_fn." + name), 0);
}

TEST(HyenaInitialisation, FixedNumbers) {
  for (const bool zoology : {false, true}) {
    const Config config{"", {{"l_max", 101L}, {"w", 2.5}}, zoology, 16};
    const std::vector<double> rates = initial("modulation.deltas", config);
    EXPECT_NEAR(rates.front(), -3.0701134573, 1e-9);
    EXPECT_NEAR(rates.back(), -15.3505672866, 1e-9);
    EXPECT_NEAR(rates[1] - rates[0], rates[15] - rates[14], 1e-12);
    EXPECT_EQ(initial("pos_emb.t", config)[25], 0.25);
    for (const double v : initial("implicit_filter.1.freq", config))
      EXPECT_EQ(v, 2.5);
  }
}

// Q16: under compat the cosine and sine of a single band hardly move.
TEST(HyenaInitialisation, PositionFeatures) {
  const std::vector<double> sound = initial("pos_emb.z", {"", {{"l_max", 101L}}, false, 16});
  const std::vector<double> faithful = initial("pos_emb.z", {"", {{"l_max", 101L}}, true, 16});
  EXPECT_EQ(sound[3 * 50], 0.5);
  EXPECT_LT(*std::min_element(sound.begin(), sound.end()), -0.99);
  EXPECT_EQ(faithful[3 * 50], 0.5);
  EXPECT_NEAR(faithful[3 * 100 + 1], 1, 2e-7);
  EXPECT_NEAR(faithful[3 * 100 + 2], -1e-4 * 2 * 3.14159265 * 100 / 101, 1e-9);
  const std::vector<double> bands =
      initial("pos_emb.z", {"", {{"l_max", 101L}, {"emb_dim", 7L}}, true, 16});
  for (const int i : {0, 1, 2}) {  // linspace(1e-4, 2, 3)
    const double angle = (1e-4 + i * (2 - 1e-4) / 2) * 2 * 3.141592653589793 * 10 / 101;
    EXPECT_NEAR(bands[static_cast<std::size_t>(7 * 10 + 1 + i)], std::cos(angle), 1e-12);
    EXPECT_NEAR(bands[static_cast<std::size_t>(7 * 10 + 4 + i)], -std::sin(angle), 1e-12);
  }
}

// Q7: the reference's filter is almost zero at the start. Q18: it trains z.
TEST(HyenaInitialisation, NetworkAndTrainedFeatures) {
  for (const bool zoology : {false, true}) {
    const Config config{"", {{"l_max", 101L}}, zoology, 16};
    double largest = 0;
    for (const double v : initial("implicit_filter.2.weight", config))
      largest = std::max(largest, std::abs(v));
    EXPECT_EQ(largest < 0.11, zoology);  // 1/8 of U, or five times 0.02
    for (const double v : initial("implicit_filter.2.bias", config))
      EXPECT_EQ(v == 0, zoology);
    for (const ParameterSpec& spec : make(config).specs)
      EXPECT_TRUE(spec.name != "filter_fn.pos_emb.z" || spec.trainable == zoology);
  }
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

TEST(HyenaOptions, WrongOnesAreRefused) {
  EXPECT_NE(refusal({{"lmax", 8L}}).find("l_max"), std::string::npos);
  EXPECT_NE(refusal({{"emb_dim", 4L}}).find("odd"), std::string::npos);
  EXPECT_NE(refusal({{"num_heads", 2L}}).find("num_heads"), std::string::npos);
  EXPECT_NE(refusal({{"normalized", true}}).find("normalized"), std::string::npos);
}

TEST(HyenaOptions, SequencesBeyondLMaxAreRefused) {
  const MadeMixer made = make({"", {{"l_max", 8L}}, false, 4});
  const HostParameters parameters = perturbed_parameters(made.specs, 1, 0.1);
  const MixerInput input = random_input(1, 9, 4, 2);
  EXPECT_THROW(run_mixer<float>(made, parameters, input, false), Error);
  EXPECT_THROW(fold_decoder(made, parameters, input), Error);
}

}  // namespace
}  // namespace recallbench::testing
