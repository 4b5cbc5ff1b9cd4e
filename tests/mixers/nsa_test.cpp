// nsa: what a query sees, the choice of blocks, state, sizes of the reference, initial values,
// options.
#include <gtest/gtest.h>

#include <cmath>

#include "mixers/nsa/sparse_cpu.h"
#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

MadeMixer make(const Values& options, Index d_model, bool zoology = false) {
  return make(MixerConfig{"", "nsa", options, zoology, d_model});
}

Matrix<double> matrix(std::vector<double>& numbers, Index cols) {
  return {numbers.data(), static_cast<Index>(numbers.size()) / cols, cols, cols};
}

/// Keys that the query at t sees, where all scores are equal: those of weight above 0.
std::vector<Index> seen(const GroupedAttentionOptions& options, Index keys, Index t,
                        std::vector<double> chosen = {}) {
  const auto at = static_cast<std::int32_t>(t);
  SparseSize size{options, 1, 1, keys, keys, static_cast<Index>(chosen.size()), 1, &at};
  std::vector<double> q(static_cast<std::size_t>(keys), 0.0), k(q.size() * q.size()),
      v = k, o = q, scratch(3 * q.size());
  for (std::size_t j = 0; j < q.size(); ++j)
    v[j * q.size() + j] = 1;
  const Matrix<double> none{nullptr, 0, 0, 0};
  grouped_attention_cpu(size, matrix(q, keys), matrix(k, keys), matrix(v, keys),
                        chosen.empty() ? none : matrix(chosen, size.choices), matrix(o, keys),
                        scratch.data());
  std::vector<Index> all;
  for (Index j = 0; j < keys; ++j)
    if (o[static_cast<std::size_t>(j)] > 0) all.push_back(j);
  return all;
}

TEST(NsaAttention, EachBranchSeesItsKeys) {
  using Keys = std::vector<Index>;
  GroupedAttentionOptions options;
  options.block = 3;
  options.memory = 2;
  options.visible = Visible::blocks;
  EXPECT_EQ(seen(options, 5, 2), (Keys{0, 1}));  // the token that completes block 0
  EXPECT_EQ(seen(options, 5, 3), (Keys{0, 1, 2}));
  EXPECT_EQ(seen(options, 5, 8), (Keys{0, 1, 2, 3}));
  options.visible = Visible::chosen;
  EXPECT_EQ(seen(options, 11, 10, {1, -1}), (Keys{3, 4, 5, 9, 10}));
  EXPECT_EQ(seen(options, 11, 2, {-1, -1}), (Keys{0, 1, 2}));
  options.visible = Visible::band;
  options.back = 2;
  EXPECT_EQ(seen(options, 6, 1), (Keys{0, 1}));
  EXPECT_EQ(seen(options, 6, 4), (Keys{2, 3, 4}));
  options.ahead = 2;
  EXPECT_EQ(seen(options, 6, 4), (Keys{2, 3, 4, 5}));
}

/// Blocks that a query of ones chooses among keys of one number each.
std::vector<double> choices(std::vector<double> keys, Index t, Index count) {
  GroupedAttentionOptions options;
  options.visible = Visible::blocks;
  options.block = 2;
  const auto at = static_cast<std::int32_t>(t);
  const SparseSize size{options, 1, 1, static_cast<Index>(keys.size()), 1, count, 1, &at};
  std::vector<double> q = {1}, chosen(static_cast<std::size_t>(count)), scratch(3 * keys.size());
  choose_blocks_cpu(size, matrix(q, 1), matrix(keys, 1), matrix(chosen, count), scratch.data());
  return chosen;
}

TEST(NsaAttention, ChoosesTheHighestScoresAmongBlocksBehind) {
  EXPECT_EQ(choices({1, 3, 2, 9}, 7, 2), (std::vector<double>{1, 2}));  // block 3 ends at t
  EXPECT_EQ(choices({1, 3, 2, 9}, 8, 2), (std::vector<double>{3, 1}));
  EXPECT_EQ(choices({1, 3, 2, 9}, 1, 2), (std::vector<double>{-1, -1}));
  EXPECT_EQ(choices({2, 2, 2, 2}, 8, 3), (std::vector<double>{0, 1, 2}));
}

// e^-23 is about 1e-10; scores below -1000 lose to the score that is always there.
TEST(NsaAttention, BlocksWithoutAShareAreNotChosen) {
  EXPECT_EQ(choices({0, -22}, 4, 2), (std::vector<double>{0, 1}));
  EXPECT_EQ(choices({0, -24}, 4, 2), (std::vector<double>{0, -1}));
  EXPECT_EQ(choices({-1100, -1030}, 4, 2), (std::vector<double>{-1, -1}));
}

TEST(NsaState, HoldsAllTokensAndCompleteBlocks) {
  const MadeMixer made = make({{"num_heads", 2L},
                               {"kv_heads", 1L},
                               {"compress_block_size", 4L},
                               {"selection_block_size", 4L}},
                              12);
  for (const Index length : {3, 4, 19})
    EXPECT_EQ(state_numbers(made, length), 2 * 6 * (length + length / 4)) << length;
}

// [base_conv, nsa] of the reference at V = 8192, L = 1024.
TEST(NsaModel, CountsAndStateOfTheReference) {
  for (const auto& [d, numbers, bytes] :
       {std::tuple{64, 695366, 90880}, {128, 1726598, 181760}, {256, 4796678, 363520}}) {
    const Model model(reference_model(d, {{"base_conv", {{"kernel_size", 3L}}, ""},
                                          {"nsa", {{"num_heads", 2L}}, ""}}),
                      DType::f32, 1);
    EXPECT_EQ(model.parameters().trainable_numbers(), numbers);
    EXPECT_EQ(model.published_state_bytes(1024), bytes);
  }
}

// T2
TEST(NsaInitialisation, GatesPreferTheWindowOnlySoundly) {
  const Values two = {{"num_heads", 2L}};
  EXPECT_EQ(initial("to_strategy_combine.0.bias", make(two, 8)),
            (std::vector<double>{-2, -2, 2, -2, -2, 2}));
  EXPECT_EQ(initial("to_strategy_combine.0.weight", make(two, 8)), std::vector<double>(48, 0.0));
  EXPECT_EQ(initial("to_strategy_combine.0.bias", make(two, 8, true)), std::vector<double>(6, 0.0));
  EXPECT_NE(initial("to_strategy_combine.0.weight", make(two, 8, true))[0], 0);
}

// T1: the sound window has W tokens, the reference's W + 1, and W ahead unless it is causal.
TEST(NsaWindow, SoundAndOfTheReference) {
  const Values wide = {
      {"sliding_window_size", 3L}, {"compress_block_size", 64L}, {"selection_block_size", 64L}};
  EXPECT_TRUE(make(wide, 8).mixer->traits().causal);
  EXPECT_FALSE(make(wide, 8, true).mixer->traits().causal);
  Values causal = wide;
  causal["causal"] = true;
  EXPECT_TRUE(make(causal, 8, true).mixer->traits().causal);
}

TEST(NsaOptions, WrongOnesAreRefused) {
  expect_refused({"", "nsa", {{"causal", false}}, false, 8}, "must be true");
  expect_refused({"", "nsa", {{"selection_block_size", 4L}}, false, 8}, "must equal");
  expect_refused({"", "nsa", {{"num_heads", 4L}, {"kv_heads", 3L}}, false, 16}, "num_heads = 4");
  expect_refused({"", "nsa", {{"num_heads", 4L}}, false, 12}, "even parts");
  expect_refused({"", "nsa", {{"compress_mlp_expand_factor", 0.01}}, false, 4}, "no hidden");
}

}  // namespace
}  // namespace recallbench::testing
