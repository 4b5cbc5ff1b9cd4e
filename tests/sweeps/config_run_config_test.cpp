#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "tests/sweeps/config_support.h"

namespace recallbench {
namespace {

RunConfig only_run(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  Recipe recipe = parse_recipe(toml, "f.toml", overrides);
  EXPECT_EQ(recipe.runs.size(), 1u);
  return recipe.runs.at(0);
}

TEST(RunId, IsTheHashOfTheCanonicalJson) {
  const RunConfig run = only_run(kPlainRecipe);
  EXPECT_EQ(run_id(run), "r" + xxh3_128_hex(canonical_json(run)));
  EXPECT_EQ(run_id(run).size(), 33u);
  EXPECT_NE(canonical_json(run).find("\"numerics_version\":"), std::string::npos);
}

TEST(RunId, NamesAndPlacesDoNotMatter) {
  const std::string id = run_id(only_run(kPlainRecipe));
  EXPECT_EQ(run_id(parse_recipe("\n\n# moved\n" + kPlainRecipe, "other/g.toml").runs[0]), id);
  EXPECT_EQ(run_id(only_run(kPlainRecipe, {"name=other", "description=text"})), id);
  const std::string named = kPlainRecipe + "[[sweep.models]]\nname = \"a family\"\n";
  EXPECT_EQ(run_id(only_run(named)), id);
  for (const char* name : {"plain", "f.toml", "base_conv+attention"})
    EXPECT_EQ(canonical_json(only_run(kPlainRecipe)).find(name), std::string::npos) << name;
}

TEST(RunId, SpellingDoesNotMatter) {
  const std::string id = run_id(only_run(kPlainRecipe));
  EXPECT_EQ(run_id(only_run(with(kPlainRecipe, "lr = 0.01", "lr = 1e-2"))), id);
  EXPECT_EQ(run_id(only_run(with(kPlainRecipe, "lr = 0.01", "lr = 0.0100"))), id);
  EXPECT_EQ(run_id(only_run(with(kPlainRecipe, "batch_size = 16", "batch_size = 0x10"))), id);
  EXPECT_EQ(run_id(only_run(kPlainRecipe, {"task.batch_size={test=16, train=16}"})), id);
  EXPECT_EQ(run_id(only_run(kPlainRecipe, {"train.weight_decay=1"})),
            run_id(only_run(kPlainRecipe, {"train.weight_decay=1.0"})));
  EXPECT_EQ(run_id(only_run(kPlainRecipe, {"train.weight_decay=-0.0"})),
            run_id(only_run(kPlainRecipe, {"train.weight_decay=0"})));
  EXPECT_EQ(run_id(only_run(kPlainRecipe, {"task.train.0.power_a=1"})),
            run_id(only_run(kPlainRecipe, {"task.train.0.power_a=1.0"})));
}

TEST(RunId, DefaultsWrittenOutDoNotMatter) {
  const std::string id = run_id(only_run(kPlainRecipe));
  EXPECT_EQ(run_id(only_run(kPlainRecipe,
                            {"seed=1", "precision=fp32", "task.order=sequential",
                             "task.test_seed=0", "model.embed_dropout=0.1",
                             "model.state_mixer.type=identity", "train.early_stopping=false",
                             "task.train.0.power_a=0.01", "task.test.0.num_passes=1"})),
            id);
}

TEST(RunId, EverythingThatDecidesTheResultMatters) {
  const std::string id = run_id(only_run(kPlainRecipe));
  for (const char* change : {"seed=2",
                             "compat=zoology",
                             "task.batch_size=8",
                             "task.batch_size={train=16,test=8}",
                             "task.test_seed=1",
                             "task.order=shuffle_batches",
                             "task.train.0.num_examples=255",
                             "task.test.0.power_a=0.5",
                             "task.valid=[{task=\"mqar\",vocab_size=64,input_seq_len=32}]",
                             "model.d_model=16",
                             "model.n_layers=3",
                             "model.max_position_embeddings=32",
                             "model.tie_embeddings=false",
                             "model.embed_dropout=0.2",
                             "model.resid_dropout=0.2",
                             "model.state_mixer.type=mlp",
                             "model.layers.1.num_heads=2",
                             "model.layers=[{mixer=\"attention\"}]",
                             "train.max_epochs=3",
                             "train.lr=0.02",
                             "train.weight_decay=0.2",
                             "train.early_stopping={metric=\"accuracy\"}"})
    EXPECT_NE(run_id(only_run(kPlainRecipe, {change})), id) << change;
  EXPECT_NE(run_id(only_run(kPlainRecipe, {"train.early_stopping={threshold=0.5}"})),
            run_id(only_run(kPlainRecipe, {"train.early_stopping={threshold=0.6}"})));
  EXPECT_NE(run_id(only_run(kPlainRecipe, {"compat=zoology", "task.data_seed=1"})),
            run_id(only_run(kPlainRecipe, {"compat=zoology"})));
}

TEST(RunId, EnlargingAGridKeepsTheIdsOfItsRuns) {
  const std::string grid = kPlainRecipe + "[sweep.grid]\nseed = [1, 2]\n";
  const Recipe small = parse_recipe(grid, "f.toml");
  const Recipe large = parse_recipe(grid, "f.toml", {"seed=3,2,1"});
  ASSERT_EQ(large.runs.size(), 3u);
  EXPECT_EQ(run_id(large.runs[2]), run_id(small.runs[0]));
  EXPECT_EQ(run_id(large.runs[1]), run_id(small.runs[1]));
}

TEST(RunConfigJson, SurvivesARoundTrip) {
  for (const std::vector<std::string>& overrides : std::vector<std::vector<std::string>>{
           {},
           {"compat=zoology", "task.data_seed=4294967295", "train.early_stopping.metric=accuracy"},
           {"train.early_stopping={metric=\"loss\",threshold=0.1}", "seed=9223372036854775807",
            "train.lr=0.0031622776601683794", "model.layers.0.kernel_size=[3, 4]",
            "task.valid=[{task=\"mqar\",vocab_size=64,input_seq_len=32}]"}}) {
    const RunConfig run = only_run(kPlainRecipe, overrides);
    const RunConfig back = parse_run_config(to_json(run));
    EXPECT_EQ(to_json(back), to_json(run));
    EXPECT_EQ(run_id(back), run_id(run));
    EXPECT_EQ(back.sweep, "plain");
    EXPECT_EQ(back.model_name, "base_conv+attention");
    EXPECT_EQ(back.model.layers[1].where, run.model.layers[1].where);
    EXPECT_EQ(back.train.lr, run.train.lr);
  }
}

TEST(RunConfigJson, DamageIsAnError) {
  const std::string good = to_json(only_run(kPlainRecipe));
  const auto is_refused = [](const std::string& json) {
    try {
      parse_run_config(json);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::io;
    }
    return false;
  };
  EXPECT_FALSE(is_refused(good));
  EXPECT_TRUE(is_refused(good.substr(0, good.size() / 2)));
  EXPECT_TRUE(is_refused(with(good, "\"max_epochs\":2", "\"max_epochs\":\"2\"")));
  EXPECT_TRUE(is_refused(with(good, "\"max_epochs\":2", "\"max_epochs\":2,\"more\":1")));
  EXPECT_TRUE(is_refused(with(good, "\"d_model\":32,", "")));
  EXPECT_TRUE(is_refused(with(good, "\"numerics_version\":", "\"numerics_version\":99")));
  EXPECT_TRUE(is_refused(with(good, "\"seed\":1,", "\"seed\":-1,")));
  EXPECT_TRUE(is_refused(with(good, "\"kernel_size\":[3]", "\"kernel_size\":[3,\"a\"]")));
}

}  // namespace
}  // namespace recallbench
