// gla and retnet: obligations at odd configurations, chunks, state, initial values, options.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

using Int = std::int64_t;

class GlaForms : public MixerForms {};

TEST_P(GlaForms, KeepsItsObligations) {
  expect_obligations(GetParam());
}

// Chunks have 16 tokens, and 32 where the decays are constant.
TEST_P(GlaForms, ForwardIsTheFoldOfTheDecoderOverManyChunks) {
  const MadeMixer made = make(GetParam());
  expect_forward_is_the_fold(made, random_parameters(made.specs, 3, 0.5), {150}, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(
    All, GlaForms,
    ::testing::Values(
        MixerConfig{"gla_shared_states",
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
        MixerConfig{"gla_odd",
                    "gla",
                    {{"num_heads", Int{1}},
                     {"expand_k", 0.2},
                     {"expand_v", 1.4},
                     {"gate_low_rank_dim", Int{3}},
                     {"gate_fn", "sigmoid"},
                     {"feature_map", "swish"}},
                    true,
                    5},
        MixerConfig{"gla_without_gate",
                    "gla",
                    {{"use_output_gate", false}, {"use_short_conv", true}, {"conv_size", Int{1}}},
                    true,
                    20},
        MixerConfig{"retnet_three_heads",
                    "retnet",
                    {{"num_heads", Int{3}}, {"expand_v", 1.0}, {"feature_map", "sigmoid"}},
                    false,
                    6},
        MixerConfig{"retnet_convolutions",
                    "retnet",
                    {{"num_heads", Int{1}}, {"use_short_conv", true}, {"gate_fn", "relu"}},
                    true,
                    4}),
    [](const auto& info) { return info.param.label; });

TEST(GlaState, IsOneMatrixForEachStateHeadAndTheWindows) {
  EXPECT_EQ(state_numbers(make({"", "gla", {}, false, 16}), 9), 2 * 4 * 8);
  EXPECT_EQ(state_numbers(make({"", "retnet", {}, false, 16}), 9), 2 * 8 * 16);
  const Values shared = {
      {"num_heads", Int{4}}, {"num_kv_heads", Int{2}}, {"expand_k", 1.0}, {"use_short_conv", true}};
  EXPECT_EQ(state_numbers(make({"", "gla", shared, true, 16}), 9), 2 * 4 * 4 + 3 * (16 + 8 + 8));
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
    const Model model(
        reference_model(d, {{"base_conv", {{"kernel_size", Int{3}}}, ""}, {"gla", {}, ""}}),
        DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
    EXPECT_EQ(model.reference_state_bytes(1024), bytes);
  }
}

std::vector<std::string> names(const MixerConfig& config) {
  std::vector<std::string> all;
  for (const ParameterSpec& spec : make(config).specs)
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

// Quirk Q5, in two layers.
TEST(GlaInitialisation, TheOutputProjectionIsScaledWithTheDepthOnlySoundly) {
  EXPECT_NEAR(deviation(initial("o_proj.weight", make({"", "gla", {}, true, 64}))), 0.02, 1e-3);
  EXPECT_NEAR(deviation(initial("o_proj.weight", make({"", "gla", {}, false, 64}))), 0.01, 5e-4);
  EXPECT_NEAR(deviation(initial("gk_proj.1.weight", make({"", "gla", {}, false, 64}))), 0.02, 2e-3);
  EXPECT_EQ(deviation(initial("gk_proj.1.bias", make({"", "gla", {}, false, 64}))), 0);
  EXPECT_EQ(deviation(initial("g_norm_swish_gate.weight", make({"", "retnet", {}, true, 64}))), 1);
}

TEST(GlaOptions, WrongOnesAreRefused) {
  expect_refused({"", "gla", {{"num_heads", Int{3}}}, false, 16},
                 "must divide expand_k d_model, which is 8");
  expect_refused({"", "gla", {{"expand_k", 0.3}}, false, 16}, "expand_k");
  expect_refused({"", "gla", {{"num_heads", Int{4}}, {"num_kv_heads", Int{3}}}, false, 16},
                 "num_heads = 4");
  expect_refused({"", "gla", {{"gate_fn", "swosh"}}, false, 16}, "swish");
  expect_refused({"", "gla", {{"clamp_min", 0.1}}, false, 16}, "clamp_min");
  expect_refused({"", "gla", {{"gate_logit_normalizer", 0.0}}, false, 16}, "gate_logit_normalizer");
  expect_refused({"", "retnet", {{"num_heads", Int{2}}}, false, 10},
                 "even number of keys, it gives 5");
  expect_refused({"", "retnet", {{"num_kv_heads", Int{1}}}, false, 16}, "num_kv_heads");
  expect_refused({"", "retnet", {{"clamp_min", -1.0}}, false, 16}, "clamp_min");
}

}  // namespace
}  // namespace recallbench::testing
