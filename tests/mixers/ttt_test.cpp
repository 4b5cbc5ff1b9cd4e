// ttt_linear and ttt_mlp: the state's two representations, sizes of the reference, initial values,
// options.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

MadeMixer make(const std::string& mixer, const Values& options, Index d_model,
               bool zoology = false) {
  return make(MixerConfig{"", mixer, options, zoology, d_model});
}

struct StateCase {
  std::string mixer;
  Index mini_batch, numbers;  // of one head of 6 channels
};

class TttState : public ::testing::TestWithParam<StateCase> {};

// Pairs of key and gradient while they are fewer than the weights, their sum beyond; either way
// forward and decoder agree within, at the end of, and behind mini-batches.
TEST_P(TttState, IsTheWeightsAndTheLessOfPairsAndSum) {
  const auto& [mixer, mini_batch, numbers] = GetParam();
  const MadeMixer made = make(mixer, {{"num_heads", 2L}, {"mini_batch_size", mini_batch}}, 12);
  const HostParameters parameters = perturbed_parameters(made.specs, 3, 0.3);
  for (const Index length : {1, 4, 17}) {
    const MixerInput input = random_input(2, length, 12, 5);
    Index counted = -1;
    const std::vector<double> folded = fold_decoder(made, parameters, input, &counted);
    EXPECT_EQ(counted, 2 * numbers) << length;
    const double error =
        relative_error(run_mixer<double>(made, parameters, input, false).y, folded);
    EXPECT_LE(error, 1e-11) << length;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, TttState,
    ::testing::Values(StateCase{"ttt_linear", 1, 42}, StateCase{"ttt_linear", 4, 42 + 36},
                      StateCase{"ttt_linear", 5, 42 + 42}, StateCase{"ttt_mlp", 16, 318 + 180},
                      StateCase{"ttt_mlp", 40, 2 * 318}),
    [](const auto& info) { return fmt::format("{}_{}", info.param.mixer, info.param.mini_batch); });

TEST(TttState, ConvolutionsAddTheirInputs) {
  const MadeMixer made =
      make("ttt_linear", {{"mini_batch_size", 1L}, {"share_qk", true}, {"conv_kernel", 3L}}, 6);
  EXPECT_EQ(state_numbers(made, 5), 42 + 12);
}

// [base_conv, ttt] of the reference at V = 8192, L = 1024.
TEST(TttModel, CountsAndStateOfTheReference) {
  struct Row {
    const char* mixer;
    Index d, numbers, bytes;
  };
  for (const Row& row :
       {Row{"ttt_linear", 64, 548242, 9216}, Row{"ttt_linear", 128, 1141522, 34816},
        Row{"ttt_linear", 256, 2463250, 135168}, Row{"ttt_mlp", 64, 562834, 67584},
        Row{"ttt_mlp", 128, 1199378, 266240}, Row{"ttt_mlp", 256, 2693650, 1056768}}) {
    const Model model(reference_model(row.d, {{"base_conv", {{"kernel_size", 3L}}, ""},
                                              {row.mixer, {{"num_heads", 2L}}, ""}}),
                      DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), row.numbers) << row.mixer << " " << row.d;
    EXPECT_EQ(model.published_state_bytes(1024), row.bytes) << row.mixer << " " << row.d;
  }
}

/// Initial values of one of the layer's parameters.
std::vector<double> start(const std::string& name, const MadeMixer& made) {
  return initial("ttt_layer." + name, made);
}

TEST(TttInitialisation, Distributions) {
  const MadeMixer made = make("ttt_mlp", {{"num_heads", 2L}, {"share_qk", true}}, 128);
  for (const char* name : {"q_proj.weight", "v_proj.weight", "W1", "W2"})
    EXPECT_NEAR(deviation(start(name, made)), 0.02, 0.001) << name;
  EXPECT_NEAR(deviation(start("learnable_ttt_lr_weight", made)), 0.02, 0.004);
  EXPECT_NEAR(deviation(start("conv_k.weight", made)), 0.5 / std::sqrt(3.0), 0.03);
  for (const char* name : {"b1", "b2", "learnable_token_idx", "ttt_norm_bias", "post_norm.bias"})
    EXPECT_EQ(deviation(start(name, made)), 0) << name;
  EXPECT_EQ(start("ttt_norm_weight", made), std::vector<double>(128, 1.0));
}

// Q5: the reference does not know this name of a projection into the residual stream.
TEST(TttInitialisation, OutputIsScaledWithTheDepthOnlySoundly) {
  EXPECT_NEAR(deviation(start("o_proj.weight", make("ttt_linear", {}, 128))), 0.01, 0.0005);
  EXPECT_NEAR(deviation(start("o_proj.weight", make("ttt_linear", {}, 128, true))), 0.02, 0.001);
}

TEST(TttOptions, WrongOnesAreRefused) {
  expect_refused({"", "ttt_linear", {{"mini_batch", 8L}}, false, 8}, "mini_batch_size");
  expect_refused({"", "ttt_linear", {{"num_heads", 3L}}, false, 8}, "divide d_model = 8");
  expect_refused({"", "ttt_linear", {{"num_heads", 4L}}, false, 12}, "even parts");
}

}  // namespace
}  // namespace recallbench::testing
