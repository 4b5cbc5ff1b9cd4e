#include "sweeps/store/labels.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "sweeps/config/recipe.h"

namespace recallbench {
namespace {

/// A run that has something at every key.
RunConfig full_run() {
  const std::string recipe = R"(
schema = 1
name = "full"
[task]
batch_size = {train = 16, test = 50}
train = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 200},
         {task = "mqar", vocab_size = 64, input_seq_len = 16, num_kv_pairs = 2, num_examples = 40}]
valid = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 60}]
test = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 60}]
[model]
vocab_size = 64
d_model = 16
state_mixer = {type = "mlp", hidden_mult = 2}
layers = [{mixer = "base_conv", kernel_size = 3}, {mixer = "based", feature_map = "taylor_exp"}]
[train]
early_stopping = {metric = "loss", threshold = 0.5}
)";
  return parse_recipe(recipe, "full.toml").runs.at(0);
}

using Changed = std::function<void(Json)>;

/// Calls `give` with `value` as often as there are values in it, each time with another of them
/// changed.
void change_each(const Json& value, const Changed& give) {
  static const std::set<std::string, std::less<>> names = {"numerics_version", "sweep",
                                                           "model_name", "where"};
  if (value.is_object()) {
    for (const auto& entry : value.as_object()) {
      const std::string& key = entry.first;
      if (names.count(key) != 0) continue;
      change_each(entry.second, [&](Json changed) {
        Json copy = value;
        copy[key] = std::move(changed);
        give(copy);
      });
    }
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i)
      change_each(value.at(i), [&](Json changed) {
        Json::Array copy = value.as_array();
        copy[i] = std::move(changed);
        give(Json(copy));
      });
  } else if (value.is_bool()) {
    give(!value.as_bool());
  } else if (value.is_integer()) {
    give(value.as_int() + 1);
  } else if (value.is_number()) {
    give(value.as_double() / 2 + 0.125);
  } else {
    give(value.as_string() + "x");
  }
}

std::size_t distinct(const std::vector<std::string>& texts) {
  return std::set<std::string>(texts.begin(), texts.end()).size();
}

// No list of keys is written here: whatever is part of a run's id is changed.
TEST(Labels, TellRunsApartThatDifferInAnyKey) {
  const RunConfig plain = full_run();
  std::vector<RunConfig> runs = {plain};
  change_each(parse_json(to_json(plain), "run", ErrorKind::internal),
              [&](const Json& json) { runs.push_back(parse_run_config(json.compact())); });
  ASSERT_GT(runs.size(), 50u);
  for (int i = 0; i < 3; ++i)
    runs.push_back(plain);
  runs[runs.size() - 1].task.valid.clear();
  runs[runs.size() - 2].task.train.pop_back();
  runs[runs.size() - 3].train.early_stopping.reset();

  std::vector<std::string> ids;
  for (const RunConfig& run : runs)
    ids.push_back(run_id(run));
  ASSERT_EQ(distinct(ids), runs.size());
  EXPECT_EQ(distinct(make_labels(runs).run), runs.size());

  for (std::size_t i = 1; i < runs.size(); ++i) {
    const std::vector<RunConfig> two = {plain, runs[i]};
    const RunLabels labels = make_labels(two);
    const bool other_model = canonical(plain).at("model") != canonical(runs[i]).at("model");
    EXPECT_NE(labels.run[0], labels.run[1]) << canonical_json(runs[i]);
    EXPECT_EQ(labels.model[0] != labels.model[1], other_model) << canonical_json(runs[i]);
    EXPECT_FALSE(varying_names(two).empty()) << canonical_json(runs[i]);
  }
}

TEST(Labels, CallKeysAsRecipesDo) {
  std::vector<RunConfig> runs(2, full_run());
  runs[1].model.tie_embeddings = false;
  runs[1].model.state_mixer.type = "glu";
  runs[1].model.layers[1].options["feature_map"] = "relu";
  runs[1].task.train_batch_size = 32;
  runs[1].task.valid[0].options["num_kv_pairs"] = std::int64_t{8};
  runs[1].train.early_stopping.reset();
  const RunLabels labels = make_labels(runs);
  EXPECT_EQ(labels.model[1],
            "base_conv+based d_model=16 state_mixer=glu tie_embeddings=false feature_map=relu");
  EXPECT_EQ(labels.run[0], labels.model[0] +
                               " batch_size=16 num_kv_pairs=4 early_stopping.metric=loss "
                               "early_stopping.threshold=0.5");
  EXPECT_EQ(labels.run[1], labels.model[1] + " batch_size=32 num_kv_pairs=8 early_stopping=false");
}

// What the second run has in its one segment is not what the first has in both of its own.
TEST(Labels, AValueThatIsNotThereIsNotThatOfTheOthers) {
  std::vector<RunConfig> runs(3, full_run());
  runs[0].task.train[1] = runs[0].task.train[0];
  runs[1].task.train.pop_back();
  runs[2].task.train = {{"other", {}, 7, ""}};
  EXPECT_EQ(distinct(make_labels(runs).run), 3u);
}

TEST(Labels, DataOfSeveralSeedsAreSeveralTasks) {
  std::vector<RunConfig> runs(2, full_run());
  const std::string task = make_labels(runs).task[0];
  EXPECT_TRUE(task.starts_with("train 200 mqar(")) << task;
  EXPECT_EQ(task.find("seed"), std::string::npos) << task;
  runs[1].task.test_seed = 7;
  EXPECT_EQ(make_labels(runs).task,
            (std::vector<std::string>{task + "; test_seed 0", task + "; test_seed 7"}));
  EXPECT_EQ(make_labels(runs).model[0], make_labels(runs).model[1]);
}

}  // namespace
}  // namespace recallbench
