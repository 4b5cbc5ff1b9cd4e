// gla and retnet: obligations at odd configurations, chunks, state, initial values, options.
#include <gtest/gtest.h>

#include <cmath>

#include "mixers/model.h"
#include "mixers/obligations/lone_mixer.h"
#include "mixers/obligations/obligations.h"

namespace recallbench::testing {
namespace {

using Int = std::int64_t;

struct Config {
  std::string label, mixer;
  Values options;
  bool zoology;
  Index d_model;
};

void PrintTo(const Config& c, std::ostream* out) {
  *out << c.label;
}

MixerContext context_of(const Config& c) {
  MixerContext context;
  context.d_model = c.d_model;
  context.n_layers = 2;
  context.zoology = c.zoology;
  return context;
}

MadeMixer make(const Config& c) {
  return make_mixer(c.mixer, c.options, context_of(c));
}

class GlaForms : public ::testing::TestWithParam<Config> {};

TEST_P(GlaForms, KeepsItsObligations) {
  const Config& c = GetParam();
  for (const Obligation& o :
       check_obligations(c.mixer, mixer_registry().find(c.mixer), c.options, context_of(c)))
    EXPECT_FALSE(o.failed()) << o.number << " " << o.name << ": " << o.measured << " over "
                             << o.bound << ", " << o.detail;
}

// Chunks have 16 tokens, and 32 where the decays are constant.
TEST_P(GlaForms, ForwardIsTheFoldOfTheDecoderOverManyChunks) {
  const MadeMixer made = make(GetParam());
  const HostParameters parameters = random_parameters(made.specs, 3, 0.5);
  const MixerInput input = random_input(2, 150, GetParam().d_model, 5);
  const std::vector<double> folded = fold_decoder(made, parameters, input);
  const auto in_double = run_mixer<double>(made, parameters, input, false).y;
  const auto in_float = run_mixer<float>(made, parameters, input, true).y;
  EXPECT_LE(relative_error(in_double, folded), 1e-10);
  EXPECT_LE(relative_error(in_float, folded), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(
    All, GlaForms,
    ::testing::Values(
        Config{"gla_shared_states",
               "gla",
               {{"num_heads", Int{6}},
                {"num_kv_heads", Int{2}},
                {"expand_k", 1.0},
                {"use_short_conv", true},
                {"conv_size", Int{3}},
                {"clamp_min", -0.1},
                {"gate_logit_normalizer", 2.0}},
               false,
               12},
        Config{"gla_odd",
               "gla",
               {{"num_heads", Int{1}},
                {"expand_k", 0.2},
                {"expand_v", 1.4},
                {"gate_low_rank_dim", Int{3}},
                {"gate_fn", "sigmoid"},
                {"feature_map", "swish"}},
               true,
               5},
        Config{"gla_without_gate",
               "gla",
               {{"use_output_gate", false}, {"use_short_conv", true}, {"conv_size", Int{1}}},
               true,
               20},
        Config{"retnet_three_heads",
               "retnet",
               {{"num_heads", Int{3}}, {"expand_v", 1.0}, {"feature_map", "sigmoid"}},
               false,
               6},
        Config{"retnet_convolutions",
               "retnet",
               {{"num_heads", Int{1}}, {"use_short_conv", true}, {"gate_fn", "relu"}},
               true,
               4}),
    [](const auto& info) { return info.param.label; });

/// Numbers carried after `length` tokens.
Index state_numbers(const Config& c, Index length) {
  const MadeMixer made = make(c);
  Index numbers = -1;
  fold_decoder(made, random_parameters(made.specs, 1, 0.1), random_input(1, length, c.d_model, 2),
               &numbers);
  return numbers;
}

TEST(GlaState, IsOneMatrixForEachStateHeadAndTheWindows) {
  EXPECT_EQ(state_numbers({"", "gla", {}, false, 16}, 9), 2 * 4 * 8);
  EXPECT_EQ(state_numbers({"", "retnet", {}, false, 16}, 9), 2 * 8 * 16);
  const Values shared = {
      {"num_heads", Int{4}}, {"num_kv_heads", Int{2}}, {"expand_k", 1.0}, {"use_short_conv", true}};
  EXPECT_EQ(state_numbers({"", "gla", shared, true, 16}, 9), 2 * 4 * 4 + 3 * (16 + 8 + 8));
}

TEST(GlaState, PublishedBytes) {
  const Values shared = {{"num_heads", Int{4}}, {"num_kv_heads", Int{2}}, {"expand_k", 1.0}};
  EXPECT_EQ(make({"", "gla", shared, true, 16}).mixer->published_state_size(64), 4.0 * 4 * 4 * 4);
  Values convolved = shared;
  convolved["use_short_conv"] = true;
  EXPECT_EQ(make({"", "gla", convolved, true, 16}).mixer->published_state_size(64), std::nullopt);
  EXPECT_EQ(make({"", "gla", convolved, false, 16}).mixer->published_state_size(64),
            4.0 * (4 * 4 * 4 + 4 * (16 + 8 + 8)));
  EXPECT_EQ(make({"", "retnet", {}, true, 64}).mixer->published_state_size(64), 4.0 * 64 * 64);
}

TEST(GlaParameters, CountsAndBytesOfTheReferencesHybrid) {
  for (const auto& [d, numbers, bytes] :
       {std::tuple{64, 547328, 4864}, {128, 1135616, 17920}, {256, 2435072, 68608}}) {
    ModelConfig config;
    config.zoology = true;
    config.d_model = d;
    config.layers.resize(2);
    config.layers[0].mixer = "base_conv";
    config.layers[0].options = {{"kernel_size", Int{3}}};
    config.layers[1].mixer = "gla";
    const Model model(config, DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
    EXPECT_EQ(model.reference_state_bytes(1024), bytes);
  }
}

std::vector<std::string> names(const Config& c) {
  std::vector<std::string> all;
  for (const ParameterSpec& spec : make(c).specs)
    all.push_back(spec.name);
  std::sort(all.begin(), all.end());
  return all;
}

TEST(GlaParameters, NamesFollowTheOptions) {
  EXPECT_EQ(
      names({"", "gla", {}, true, 16}),
      (std::vector<std::string>{"g_norm_swish_gate.weight", "g_proj.weight", "gk_proj.0.weight",
                                "gk_proj.1.bias", "gk_proj.1.weight", "k_proj.weight",
                                "o_proj.weight", "q_proj.weight", "v_proj.weight"}));
  EXPECT_EQ(names({"", "retnet", {{"use_output_gate", false}}, true, 16}),
            (std::vector<std::string>{"g_norm.weight", "k_proj.weight", "o_proj.weight",
                                      "q_proj.weight", "v_proj.weight"}));
}

double deviation_of(const std::string& name, const Config& config) {
  const MadeMixer made = make(config);
  Parameters parameters(made.specs, DType::f64, 1);
  parameters.initialise(0, 7);
  const std::vector<double> values = parameters.get(parameters.find(name), 0);
  double square = 0;
  for (const double v : values)
    square += v * v / static_cast<double>(values.size());
  return std::sqrt(square);
}

// Quirk Q5, in two layers.
TEST(GlaInitialisation, TheOutputProjectionIsScaledWithTheDepthOnlySoundly) {
  EXPECT_NEAR(deviation_of("o_proj.weight", {"", "gla", {}, true, 64}), 0.02, 1e-3);
  EXPECT_NEAR(deviation_of("o_proj.weight", {"", "gla", {}, false, 64}), 0.01, 5e-4);
  EXPECT_NEAR(deviation_of("gk_proj.1.weight", {"", "gla", {}, false, 64}), 0.02, 2e-3);
  EXPECT_EQ(deviation_of("gk_proj.1.bias", {"", "gla", {}, false, 64}), 0);
  EXPECT_EQ(deviation_of("g_norm_swish_gate.weight", {"", "retnet", {}, true, 64}), 1);
}

/// The text of the error that making the mixer throws.
std::string refusal(const std::string& mixer, const Values& options, Index d_model = 16) {
  try {
    make({"", mixer, options, false, d_model});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "accepted";
}

TEST(GlaOptions, WrongOnesAreRefused) {
  const auto expect = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expect(refusal("gla", {{"num_heads", Int{3}}}), "multiple of num_heads = 3, it is 8");
  expect(refusal("gla", {{"expand_k", 0.3}}), "expand_k");
  expect(refusal("gla", {{"num_heads", Int{4}}, {"num_kv_heads", Int{3}}}), "num_heads = 4");
  expect(refusal("gla", {{"gate_fn", "swosh"}}), "swish");
  expect(refusal("gla", {{"clamp_min", 0.1}}), "clamp_min");
  expect(refusal("gla", {{"gate_logit_normalizer", 0.0}}), "gate_logit_normalizer");
  expect(refusal("retnet", {{"num_heads", Int{2}}}, 10), "even number of keys, it gives 5");
  expect(refusal("retnet", {{"num_kv_heads", Int{1}}}), "num_kv_heads");
  expect(refusal("retnet", {{"clamp_min", -1.0}}), "clamp_min");
}

}  // namespace
}  // namespace recallbench::testing
