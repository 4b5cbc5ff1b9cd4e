#include "sweeps/config/recipe.h"

#include <algorithm>
#include <map>

#include "sweeps/config/expand.h"
#include "sweeps/config/mixer_keys.h"
#include "sweeps/config/read_run.h"
#include "sweeps/config/table_reader.h"

namespace recallbench {
namespace {

/// What a figure's legend says where the recipe gives no name: "base_conv+based".
std::string family_of(const ModelConfig& model) {
  std::string name;
  for (const LayerConfig& layer : model.layers)
    name += (name.empty() ? "" : "+") + layer.mixer;
  return name;
}

/// The runs in order, each once.
class RunList {
 public:
  explicit RunList(const Plan& plan) : plan_(plan) {}

  void add(RunConfig run) {
    // A run whose precision the device chooses may differ from one that has it chosen.
    const std::string id = run_id(run) + (run.device_sets_precision ? " auto" : "");
    const auto [known, is_new] = indices_.emplace(id, runs_.size());
    if (is_new) {
      runs_.push_back(std::move(run));
      return;
    }
    // An override may make cases or values of a grid equal; the recipe alone may not.
    const RunConfig& first = runs_[known->second];
    const bool overridden = !plan_.overrides.empty() || plan_.cases_overridden;
    if (overridden && first.model_name == run.model_name) return;
    fail_at(plan_.place,
            "two of the runs are the same: model '{}' and model '{}' with seed {}, lr {} and equal "
            "parameters; drop the repeated value or model",
            first.model_name, run.model_name, run.seed, run.train.lr);
  }

  std::vector<RunConfig> take() { return std::move(runs_); }

 private:
  const Plan& plan_;
  std::map<std::string, std::size_t> indices_;
  std::vector<RunConfig> runs_;
};

/// Leaves the runs of the wanted models, all if `models` is empty. Where the recipe names its
/// models there are no others.
void keep_families(Recipe& recipe, const std::vector<std::string>& models) {
  if (models.empty()) return;
  check_model_names(recipe.name, models, model_names(recipe.runs));
  std::erase_if(recipe.runs, [&](const RunConfig& run) {
    return std::find(models.begin(), models.end(), run.model_name) == models.end();
  });
}

}  // namespace

std::vector<std::string> model_names(const std::vector<RunConfig>& runs) {
  std::vector<std::string> names;
  for (const RunConfig& run : runs)
    if (names.empty() || names.back() != run.model_name) names.push_back(run.model_name);
  return names;
}

Recipe parse_recipe(const std::string& toml, const std::string& source,
                    const std::vector<std::string>& overrides, std::int64_t max_runs,
                    const std::vector<std::string>& models) {
  Plan plan = read_plan(parse_toml(toml, source));
  choose_models(plan, models);
  for (const std::string& text : overrides)
    add_override(plan, text);
  Resolver resolver;
  RunList runs(plan);
  expand(plan, max_runs, [&](const std::string& model_name, const Node& tree) {
    RunConfig run = read_run(tree, resolver);
    run.sweep = plan.name;
    run.model_name = model_name.empty() ? family_of(run.model) : model_name;
    runs.add(std::move(run));
  });
  Recipe recipe{plan.name, plan.description, runs.take()};
  keep_families(recipe, models);
  return recipe;
}

ModelConfig parse_model_config(const std::string& toml, const std::string& source) {
  const Node root = parse_toml(toml, source);
  const TableReader top(root, "the top level of a model file", {"model"});
  const Node* table = top.table("model");
  if (table == nullptr) fail_at(top.place(), "a model file needs a [model] table");
  std::vector<std::string> known = model_keys();
  known.push_back("compat");
  refuse_mixer_keys(*table, "[model]", known);
  const TableReader model(*table, "[model]", known);
  const bool zoology = model.has("compat") && model.text("compat", "", {"zoology"}) == "zoology";
  Resolver resolver;
  return read_model(*table, zoology, ModelConfig{}.vocab_size, known, resolver);
}

}  // namespace recallbench
