// rwkv7: obligations, chunks, the removal that the reference never learns, state, initial values.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

using Int = std::int64_t;

class Rwkv7Forms : public MixerForms {};

TEST_P(Rwkv7Forms, KeepsItsObligations) {
  expect_obligations(GetParam());
}

// Chunks have 16 tokens.
TEST_P(Rwkv7Forms, ForwardIsTheFoldOfTheDecoderOverManyChunks) {
  const MadeMixer made = make(GetParam());
  expect_forward_is_the_fold(made, random_parameters(made.specs, 3, 0.5), {150}, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(
    All, Rwkv7Forms,
    ::testing::Values(
        MixerConfig{"odd", "rwkv7", {{"head_dim", Int{5}}, {"a_low_rank_dim", Int{1}}}, false, 15},
        MixerConfig{"one_head", "rwkv7", {{"gate_low_rank_dim", Int{3}}}, true, 7, 1},
        MixerConfig{"pairs", "rwkv7", {{"head_dim", Int{2}}, {"norm_eps", 0.1}}, false, 4, 1}),
    [](const auto& info) { return info.param.label; });

/// Initial values of all parameters.
HostParameters initial(const MadeMixer& made) {
  Parameters parameters(made.specs, DType::f64, 1);
  parameters.initialise(0, 7);
  std::map<std::string, std::vector<double>> values;
  for (int id = 0; id < parameters.count(); ++id)
    values[parameters.spec({id}).name] = parameters.get({id}, 0);
  return HostParameters(values);
}

// Quirk Q23.
TEST(Rwkv7Removal, HasNoGradientAtTheReferencesStart) {
  for (const bool zoology : {true, false}) {
    const MadeMixer made = make({"", "rwkv7", {{"head_dim", Int{4}}}, zoology, 8});
    const MixerRun run = run_mixer<double>(made, initial(made), random_input(2, 20, 8, 5), true);
    EXPECT_EQ(largest(run.gradients.at("k_k")) == 0, zoology);
    EXPECT_GT(largest(run.gradients.at("w_lora.lora.2.bias")), 0);
  }
}

// Quirk Q24.
TEST(Rwkv7Parameters, OnlyCompatHasAValueLora) {
  const auto has_one = [](bool zoology, int layer) {
    for (const ParameterSpec& spec : make({"", "rwkv7", {}, zoology, 8, layer}).specs)
      if (spec.name == "v_lora.lora.2.bias") return true;
    return false;
  };
  EXPECT_TRUE(has_one(true, 1));
  EXPECT_FALSE(has_one(true, 0));
  EXPECT_FALSE(has_one(false, 1));
}

TEST(Rwkv7Parameters, CountsAndBytesOfTheReferencesHybrid) {
  for (const auto& [d, numbers, bytes] :
       {std::tuple{64, 560960, 17152}, {128, 1162880, 34304}, {256, 2489600, 68608}}) {
    const Values options = {{"decay_low_rank_dim", Int{16}},
                            {"gate_low_rank_dim", Int{64}},
                            {"a_low_rank_dim", Int{16}},
                            {"v_low_rank_dim", Int{16}}};
    const Model model(
        reference_model(d, {{"base_conv", {{"kernel_size", Int{3}}}, ""}, {"rwkv7", options, ""}}),
        DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
    EXPECT_EQ(model.reference_state_bytes(1024), bytes);
  }
}

TEST(Rwkv7State, IsTheLastTokenAndAMatrixForEachHead) {
  const MadeMixer made = make({"", "rwkv7", {{"head_dim", Int{4}}}, true, 12});
  EXPECT_EQ(state_numbers(made, 9), 12 + 3 * 4 * 4);
}

TEST(Rwkv7Initialisation, VectorsFollowLayerAndChannelOnlySoundly) {
  const HostParameters compat = initial(make({"", "rwkv7", {{"head_dim", Int{4}}}, true, 8, 1}));
  for (const char* name :
       {"x_x", "k_k", "k_a", "r_k", "w_lora.lora.2.bias", "a_lora.lora.2.bias", "g_norm.bias"})
    EXPECT_EQ(largest(compat.at(name)), 0) << name;
  EXPECT_EQ(compat.at("g_norm.weight"), std::vector<double>(8, 1.0));

  const HostParameters sound = initial(make({"", "rwkv7", {{"head_dim", Int{4}}}, false, 8, 0}));
  for (std::size_t c = 0; c < 8; ++c) {
    const double x = static_cast<double>(c), z = (static_cast<double>(c % 4) - 1.5) / 1.5;
    EXPECT_NEAR(sound.at("x_x")[c], 1 - std::pow(x / 8, 0.2), 1e-12);      // r
    EXPECT_NEAR(sound.at("x_x")[8 + c], 1 - std::pow(x / 8, 0.9), 1e-12);  // w
    EXPECT_NEAR(sound.at("k_k")[c], 0.71 - 0.1 * (x / 7 - 0.5), 1e-12);
    EXPECT_NEAR(sound.at("k_a")[c], 1.02, 1e-12);
    EXPECT_NEAR(sound.at("r_k")[c], -0.04, 1e-12);
    EXPECT_NEAR(sound.at("w_lora.lora.2.bias")[c], -5.5 + 6 * x / 7 + 2.5 * z * std::abs(z), 1e-12);
    EXPECT_NEAR(sound.at("a_lora.lora.2.bias")[c],
                -0.19 + 0.3 * z * std::abs(z) + 0.4 * (x / 7 - 0.5), 1e-12);
    EXPECT_NEAR(sound.at("g_norm.weight")[c], std::pow(0.5, 0.7), 1e-12);
  }
}

TEST(Rwkv7Options, WrongOnesAreRefused) {
  EXPECT_THROW(make({"", "rwkv7", {{"head_dim", Int{5}}}, false, 8}), Error);
  EXPECT_THROW(make({"", "rwkv7", {{"decay_low_rank_dim", Int{0}}}, false, 8}), Error);
  EXPECT_THROW(make({"", "rwkv7", {{"num_heads", Int{2}}}, false, 8}), Error);
}

}  // namespace
}  // namespace recallbench::testing
