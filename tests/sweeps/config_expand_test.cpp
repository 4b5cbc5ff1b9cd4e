#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include "kernels/base/error.h"
#include "tests/sweeps/config_support.h"

namespace recallbench {
namespace {

const std::string kTaskAndTrain = R"(
[task]
train = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4}]
test = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4}]

[train]
lr = "$lr"
)";

/// A recipe of two models, the first with a grid of its own, and a grid of lr and seed.
const std::string kTwoModels = R"(schema = 1
name = "two")" + kTaskAndTrain +
                               R"(
[sweep.grid]
seed = [1, 2]
lr = [0.01, 0.1]

[[sweep.models]]
name = "based"
grid = {feature_dim = [8, 16]}
layers = [{mixer = "based", feature_dim = "$feature_dim"}]

[[sweep.models]]
name = "attention"
d_model = 32
layers = [{mixer = "attention"}]
)";

/// "based 8 seed 1 lr 0.01": what the tests below compare, run by run.
std::vector<std::string> labels(const Recipe& recipe) {
  std::vector<std::string> all;
  for (const RunConfig& run : recipe.runs) {
    const Values& options = run.model.layers[0].options;
    const auto feature_dim = options.find("feature_dim");
    all.push_back(
        fmt::format("{}{} seed {} lr {}", run.model_name,
                    feature_dim == options.end() ? "" : " " + to_string(feature_dim->second),
                    run.seed, run.train.lr));
  }
  return all;
}

std::vector<std::string> labels_with(const std::vector<std::string>& overrides) {
  return labels(parse_recipe(kTwoModels, "f.toml", overrides));
}

using Labels = std::vector<std::string>;

TEST(ConfigExpand, WhatADeviceMayChooseIsNotWhatIsChosen) {
  const std::vector<RunConfig> runs =
      parse_recipe(kPlainRecipe, "f.toml", {"precision=auto,fp32"}).runs;
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_TRUE(runs[0].device_sets_precision);
  EXPECT_FALSE(runs[1].device_sets_precision);
}

TEST(ConfigExpand, ManyRunsOfManySegmentsAreRefusedBeforeAnyIsMade) {
  std::string segments, seeds = "seed=1";
  for (int i = 0; i < 3000; ++i)
    segments += "{task = \"mqar\", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4}, ";
  for (int i = 2; i <= 30'000; ++i)
    seeds += "," + std::to_string(i);
  const auto begun = std::chrono::steady_clock::now();
  for (const std::string& recipe :
       {with(kPlainRecipe, "\ntrain = [", "\ntrain = [" + segments),
        with(kPlainRecipe, "\ntrain = [{", "\ntrain = \"$all\"\nvalid = [{") +
            "[sweep.grid]\nall = [[" + segments + "]]\n"}) {
    const std::string message = message_of(recipe, {seeds});
    EXPECT_NE(message.find("30000 runs of some 15"), std::string::npos) << message;
    EXPECT_NE(message.find("at most 100000000 values together"), std::string::npos) << message;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
}

TEST(ConfigExpand, APlainRecipeIsOneRunWithDefaults) {
  const Recipe recipe = parse_recipe(kPlainRecipe, "f.toml");
  ASSERT_EQ(recipe.runs.size(), 1u);
  const RunConfig& run = recipe.runs[0];
  EXPECT_EQ(recipe.name, "plain");
  EXPECT_EQ(run.sweep, "plain");
  EXPECT_EQ(run.model_name, "base_conv+attention");
  EXPECT_EQ(run.seed, 1u);
  EXPECT_EQ(run.precision, "fp32");
  EXPECT_FALSE(run.model.zoology);
  EXPECT_EQ(run.model.layers[1].where, "f.toml:15:3");
  EXPECT_EQ(run.task.train_batch_size, 16);
  EXPECT_EQ(run.task.test_batch_size, 16);
  EXPECT_TRUE(run.task.valid.empty());
  EXPECT_EQ(std::get<double>(run.task.train[0].options.at("power_a")), 0.01);
  EXPECT_FALSE(run.train.early_stopping.has_value());
}

TEST(ConfigExpand, ModelsAreOutermostAndTheLastKeyIsFastest) {
  const Labels expected = {
      "based 8 seed 1 lr 0.01",  "based 8 seed 1 lr 0.1",    "based 8 seed 2 lr 0.01",
      "based 8 seed 2 lr 0.1",   "based 16 seed 1 lr 0.01",  "based 16 seed 1 lr 0.1",
      "based 16 seed 2 lr 0.01", "based 16 seed 2 lr 0.1",   "attention seed 1 lr 0.01",
      "attention seed 1 lr 0.1", "attention seed 2 lr 0.01", "attention seed 2 lr 0.1"};
  EXPECT_EQ(labels_with({}), expected);
}

TEST(ConfigExpand, AnOverrideOfAVariableReplacesItsAxis) {
  const Labels expected = {"based 8 seed 1 lr 0.5", "based 8 seed 2 lr 0.5",
                           "attention seed 1 lr 0.5", "attention seed 2 lr 0.5"};
  EXPECT_EQ(labels_with({"lr=0.5", "feature_dim=8"}), expected);
  EXPECT_EQ(labels_with({"lr=[0.5]", "feature_dim=[8]"}), expected);
  EXPECT_EQ(labels_with({"lr=0.5,1", "seed=7", "feature_dim=4"}),
            (Labels{"based 4 seed 7 lr 0.5", "based 4 seed 7 lr 1", "attention seed 7 lr 0.5",
                    "attention seed 7 lr 1"}));
}

TEST(ConfigExpand, AnOverriddenPathDropsTheAxisThatItReferredTo) {
  EXPECT_EQ(labels_with({"train.lr=0.5", "seed=1"}),
            (Labels{"based 8 seed 1 lr 0.5", "based 16 seed 1 lr 0.5", "attention seed 1 lr 0.5"}));
}

TEST(ConfigExpand, ACommaListAtAPathIsTheFastestAxis) {
  const Recipe recipe =
      parse_recipe(kTwoModels, "f.toml", {"seed=1", "feature_dim=8", "model.d_model=16,32"});
  ASSERT_EQ(recipe.runs.size(), 8u);
  EXPECT_EQ(recipe.runs[0].model.d_model, 16);
  EXPECT_EQ(recipe.runs[1].model.d_model, 32);
  EXPECT_EQ(recipe.runs[1].train.lr, 0.01);
  EXPECT_EQ(recipe.runs[2].train.lr, 0.1);
  EXPECT_EQ(recipe.runs[4].model_name, "attention");
  EXPECT_EQ(recipe.runs[4].model.d_model, 16) << "an override wins over [[sweep.models]]";
}

TEST(ConfigExpand, OverridesReachIntoListsAndTables) {
  const Recipe recipe = parse_recipe(
      kPlainRecipe, "f.toml",
      {"model.layers.1.num_heads=2", "task.test.0.num_examples=7",
       "task.batch_size={train=8,test=4}", "train.early_stopping.threshold=0.5",
       "model.state_mixer.type=mlp", "compat=zoology", "name=other", "description=a", "seed=9"});
  ASSERT_EQ(recipe.runs.size(), 1u);
  const RunConfig& run = recipe.runs[0];
  EXPECT_EQ(std::get<std::int64_t>(run.model.layers[1].options.at("num_heads")), 2);
  EXPECT_EQ(run.task.test[0].num_examples, 7);
  EXPECT_EQ(run.task.train_batch_size, 8);
  EXPECT_EQ(run.task.test_batch_size, 4);
  EXPECT_EQ(run.train.early_stopping->threshold, 0.5);
  EXPECT_EQ(run.model.state_mixer.type, "mlp");
  EXPECT_TRUE(run.model.zoology);
  EXPECT_EQ(run.sweep, "other");
  EXPECT_EQ(run.seed, 9u);
  const Recipe without =
      parse_recipe(with(kPlainRecipe, "lr = 0.01", "lr = 0.01\nearly_stopping = {}"), "f.toml",
                   {"train.early_stopping=false"});
  EXPECT_FALSE(without.runs[0].train.early_stopping.has_value());
}

TEST(ConfigExpand, QuotedOverridesKeepTheirCommas) {
  const Recipe recipe = parse_recipe(kPlainRecipe, "f.toml",
                                     {R"(description="a, b")", "model.layers.0.kernel_size=[3,4]"});
  EXPECT_EQ(recipe.description, "a, b");
  EXPECT_EQ(
      std::get<std::vector<std::int64_t>>(recipe.runs[0].model.layers[0].options.at("kernel_size")),
      (std::vector<std::int64_t>{3, 4}));
}

TEST(ConfigExpand, CasesCoupleVariablesAndLieBetweenTheGrids) {
  const Recipe recipe = parse_recipe(R"(schema = 1
name = "cases"
[task]
batch_size = "$batch"
train = [{task = "mqar", vocab_size = 64, input_seq_len = "$length", num_kv_pairs = "$length/8"}]
test = "$test"
[model]
layers = [{mixer = "attention"}]
[train]
lr = "$lr"
[sweep.grid]
lr = [0.1, 0.2]
[[sweep.cases]]
length = 16
batch = 8
test = [{task = "mqar", vocab_size = 64, input_seq_len = "$length", num_kv_pairs = 2}]
[[sweep.cases]]
length = 32
batch = 4
test = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4}]
[sweep.cases.train]
max_epochs = 5
[[sweep.models]]
name = "plain"
grid = {d = [16, 24]}
d_model = "$d*2"
)",
                                     "f.toml");
  std::vector<std::string> got;
  for (const RunConfig& run : recipe.runs)
    got.push_back(fmt::format("d {} L {} n {} test L {} batch {} epochs {} lr {}",
                              run.model.d_model,
                              to_string(run.task.train[0].options.at("input_seq_len")),
                              to_string(run.task.train[0].options.at("num_kv_pairs")),
                              to_string(run.task.test[0].options.at("input_seq_len")),
                              run.task.train_batch_size, run.train.max_epochs, run.train.lr));
  const Labels expected = {"d 32 L 16 n 2 test L 16 batch 8 epochs 32 lr 0.1",
                           "d 32 L 16 n 2 test L 16 batch 8 epochs 32 lr 0.2",
                           "d 32 L 32 n 4 test L 32 batch 4 epochs 5 lr 0.1",
                           "d 32 L 32 n 4 test L 32 batch 4 epochs 5 lr 0.2",
                           "d 48 L 16 n 2 test L 16 batch 8 epochs 32 lr 0.1",
                           "d 48 L 16 n 2 test L 16 batch 8 epochs 32 lr 0.2",
                           "d 48 L 32 n 4 test L 32 batch 4 epochs 5 lr 0.1",
                           "d 48 L 32 n 4 test L 32 batch 4 epochs 5 lr 0.2"};
  EXPECT_EQ(got, expected);
}

TEST(ConfigExpand, CasesThatOverridesMadeEqualAreOne) {
  const std::string cases =
      with(kPlainRecipe, "input_seq_len = 32, num_kv_pairs = 4, num_examples = 256",
           "input_seq_len = \"$length\", num_kv_pairs = \"$pairs\", num_examples = 256") +
      "\n[[sweep.cases]]\nlength = 16\npairs = 2\n[[sweep.cases]]\nlength = 32\npairs = 4\n";
  EXPECT_EQ(parse_recipe(cases, "f.toml").runs.size(), 2u);
  EXPECT_EQ(parse_recipe(cases, "f.toml", {"length=32"}).runs.size(), 2u);
  const Recipe one = parse_recipe(cases, "f.toml", {"length=32", "pairs=4"});
  ASSERT_EQ(one.runs.size(), 1u);
  EXPECT_EQ(run_id(one.runs[0]), run_id(parse_recipe(cases, "f.toml").runs[1]));
}

TEST(ConfigExpand, AVariableSeedIsTheRunsSeedUnlessTheTopLevelSetsOne) {
  const std::string grid = "\n[sweep.grid]\nseed = [4, 5]\n";
  EXPECT_EQ(parse_recipe(kPlainRecipe + grid, "f.toml").runs[1].seed, 5u);
  const std::string scaled = with(kPlainRecipe, "name =", "seed = \"$seed*10\"\nname =") + grid;
  EXPECT_EQ(parse_recipe(scaled, "f.toml").runs[1].seed, 50u);
  const std::string both = with(kPlainRecipe, "name =", "seed = 3\nname =") + grid;
  EXPECT_NE(message_of(both).find("the variable 'seed' clashes with the key 'seed'"),
            std::string::npos);
}

TEST(ConfigExpand, DivisionOfAFractionIsAFraction) {
  const std::string halves = with(kPlainRecipe, "lr = 0.01", "lr = \"$x/4\"");
  EXPECT_EQ(parse_recipe(halves + "[sweep.grid]\nx = [1.0]\n", "f.toml").runs[0].train.lr, 0.25);
}

TEST(ConfigExpand, AbsentVocabularyIsThatOfTheTask) {
  const std::string recipe = with(kPlainRecipe, "vocab_size = 64\nd_model", "d_model");
  EXPECT_EQ(parse_recipe(recipe, "f.toml").runs[0].model.vocab_size, 64);
}

/// 12 axes of 10 values in less than 1 KB.
TEST(ConfigExpand, AHugeProductIsCountedNotExpanded) {
  std::string recipe = R"(schema = 1
name = "huge"
task.train = [{task = "mqar", num_examples = ["$a", "$b", "$c", "$d", "$e", "$f", "$g", "$h", "$i", "$j", "$k", "$l"]}]
[sweep.grid]
)";
  for (const char c : std::string("abcdefghijkl"))
    recipe += std::string(1, c) + " = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n";
  ASSERT_LT(recipe.size(), 1024u);
  const auto start = std::chrono::steady_clock::now();
  const std::string message = message_of(recipe);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_NE(message.find("1000000000000 runs"), std::string::npos) << message;
  EXPECT_NE(message.find("--max-runs"), std::string::npos) << message;
  EXPECT_LT(took.count(), 0.1);
  EXPECT_NE(message_of(kTwoModels, {}, 11).find("12 runs"), std::string::npos);
  EXPECT_EQ(message_of(kTwoModels, {}, 12), "");
}

TEST(ConfigExpand, ProductsBeyond64BitsSaturate) {
  std::string values = "[0";
  for (int i = 1; i < 1000; ++i)
    values += "," + std::to_string(i);
  values += "]\n";
  std::string recipe = "schema = 1\nname = \"huge\"\nseed = [\"$a\"";
  std::string grid = "[sweep.grid]\na = " + values;
  for (const char c : std::string("bcdefgh")) {
    recipe += std::string(", \"$") + c + '"';
    grid += std::string(1, c) + " = " + values;
  }
  const std::string message = message_of(recipe + "]\n" + grid);
  EXPECT_NE(message.find("at least 1000000000000000000 runs"), std::string::npos) << message;
}

TEST(ConfigExpand, RunsOfOneRecipeDiffer) {
  std::set<std::string> ids;
  const Recipe recipe = parse_recipe(kTwoModels, "f.toml");
  for (const RunConfig& run : recipe.runs)
    ids.insert(run_id(run));
  EXPECT_EQ(ids.size(), recipe.runs.size());
}

}  // namespace
}  // namespace recallbench
