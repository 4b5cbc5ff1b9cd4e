// `--models`: which models of a recipe are trained, and what overrides are to the others.
#include <gtest/gtest.h>

#include "tests/process/process.h"

namespace recallbench {
namespace {

Ended dry_run(const std::string& command, std::vector<std::string> words) {
  words.insert(words.begin(), {RECALLBENCH_BINARY, command});
  words.push_back("--dry-run");
  return run_program(words);
}

const std::string kRecipe = "recall-memory-tradeoff";

TEST(Models, AnOverrideNeedFitTheChosenAlone) {
  const Ended sweep =
      dry_run("sweep", {kRecipe, "--models", "attention", "model.layers.1.num_heads=2"});
  EXPECT_EQ(sweep.code, 0) << sweep.err;
  EXPECT_TRUE(contains(sweep.out, ": 8 runs")) << sweep.out;
  const Ended run = dry_run("run", {kRecipe, "--models", "attention", "model.layers.1.num_heads=2",
                                    "d_model=64", "lr=1e-3"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, ": 1 run,")) << run.out;
}

TEST(Models, SpacesMayStandBesideCommas) {
  const Ended tight = dry_run("sweep", {kRecipe, "--models", "attention,based"});
  const Ended wide = dry_run("sweep", {kRecipe, "--models", "attention, based "});
  EXPECT_EQ(wide.code, 0) << wide.err;
  EXPECT_EQ(wide.out, tight.out);
}

TEST(Models, ThoseThatAnOverrideDoesNotFitAreNamed) {
  const Ended ended = dry_run(
      "sweep", {kRecipe, "--models", "attention,mamba,gla,hyena", "model.layers.1.num_heads=2"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_EQ(ended.err.find('\n'), ended.err.size() - 1) << ended.err;
  EXPECT_TRUE(contains(ended.err, "override 'model.layers.1.num_heads=2'")) << ended.err;
  EXPECT_TRUE(contains(ended.err, "(models 'mamba', 'hyena')")) << ended.err;
}

TEST(Models, NoNameIsNotAllNames) {
  const Ended ended = dry_run("sweep", {"demo", "--models", ""});
  EXPECT_EQ(ended.code, 2) << ended.out;
  EXPECT_TRUE(contains(ended.err, "the recipe 'demo' has no model ''; known: attention, based"))
      << ended.err;
  EXPECT_EQ(dry_run("sweep", {"demo", "--models", "mamba,"}).code, 2);
}

TEST(Models, ValuesOfVariablesChooseAmongTheChosen) {
  const Ended ended =
      dry_run("sweep", {kRecipe, "seed=1", "d_model=128", "d_state=16", "--models",
                        "mamba,mamba2,hyena,h3,delta_net,gated_delta_net,gla,rwkv7"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(contains(ended.out, ": 32 runs")) << ended.out;
  const Ended without = dry_run("sweep", {kRecipe, "d_model=128", "d_state=16", "--models", "h3"});
  EXPECT_EQ(without.code, 0) << without.err;
  EXPECT_TRUE(contains(without.out, ": 4 runs")) << without.out;
}

}  // namespace
}  // namespace recallbench
