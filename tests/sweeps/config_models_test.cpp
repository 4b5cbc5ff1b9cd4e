// The choice among the models of a recipe.
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/sweeps/config_support.h"

namespace recallbench {
namespace {

/// Three models of one mixer each, the third of one that the program does not know.
const std::string kThree = kPlainRecipe + R"(
[sweep.grid]
seed = [1, 2]
[[sweep.cases]]
width = 16
[[sweep.models]]
name = "based"
d_model = "$width"
grid = {feature_dim = [4, 8]}
layers = [{mixer = "based", feature_dim = "$feature_dim"}]
[[sweep.models]]
name = "attention"
layers = [{mixer = "base_conv", kernel_size = 3}, {mixer = "attention"}]
[[sweep.models]]
name = "elsewhere"
layers = [{mixer = "of_a_plugin"}]
)";

using Texts = std::vector<std::string>;

/// "attention seed 1, ...", or the message of the error.
std::string runs_of(const std::string& toml, const Texts& models, const Texts& overrides = {},
                    std::int64_t max_runs = kMaxRuns) {
  std::string all;
  try {
    for (const RunConfig& run : parse_recipe(toml, "f.toml", overrides, max_runs, models).runs)
      all += fmt::format("{}{} {}", all.empty() ? "" : ", ", run.model_name, run.seed);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return all;
}

TEST(ConfigModels, TheChosenAloneAreRunInTheOrderOfTheRecipe) {
  EXPECT_EQ(runs_of(kThree, {"attention"}), "attention 1, attention 2");
  EXPECT_EQ(runs_of(kThree, {"attention", "based", "attention"}, {"seed=3"}),
            "based 3, based 3, attention 3");
}

TEST(ConfigModels, OthersNeedNotFit) {
  EXPECT_EQ(runs_of(kThree, {"attention"}, {"model.layers.1.num_heads=2", "seed=1"}),
            "attention 1");
  EXPECT_EQ(runs_of(kThree, {"attention"}, {}, 2), "attention 1, attention 2");
}

TEST(ConfigModels, AVariableOfOthersIsStillOne) {
  EXPECT_EQ(runs_of(kThree, {"attention"}, {"feature_dim=4"}), "attention 1, attention 2");
  EXPECT_NE(runs_of(kThree, {"attention"}, {"feature_dims=4"}).find("did you mean 'feature_dim'?"),
            std::string::npos);
}

TEST(ConfigModels, AllThatAnOverrideDoesNotFitAreNamed) {
  const std::string recipe = with(kThree, "of_a_plugin", "sliding_window");
  const std::string message = runs_of(recipe, {}, {"model.layers.1.num_heads=2"});
  EXPECT_NE(message.find("override 'model.layers.1.num_heads=2'"), std::string::npos) << message;
  EXPECT_NE(message.find("(models 'based', 'elsewhere')"), std::string::npos) << message;
  const std::string later = runs_of(recipe, {}, {"model.layers.0.feature_dim=2"});
  EXPECT_NE(later.find("(models 'attention', 'elsewhere')"), std::string::npos) << later;
}

TEST(ConfigModels, WhereAnOverrideFitsNoneNoneIsNamed) {
  const std::string message = runs_of(kThree, {"based", "attention"}, {"model.d_modle=8"});
  EXPECT_NE(message.find("did you mean 'd_model'?"), std::string::npos) << message;
  EXPECT_EQ(message.find("(model"), std::string::npos) << message;
}

TEST(ConfigModels, AnUnknownNameIsAnError) {
  const std::string message = runs_of(kThree, {"atention"}, {"name=other"});
  EXPECT_NE(message.find("no model 'atention'; did you mean 'attention'?"), std::string::npos)
      << message;
}

TEST(ConfigModels, WithoutNamesMixersAreTheName) {
  EXPECT_EQ(runs_of(kPlainRecipe, {"base_conv+attention"}), "base_conv+attention 1");
  const std::string message = runs_of(kPlainRecipe, {"attention"});
  EXPECT_NE(message.find("'plain' has no model 'attention'"), std::string::npos) << message;
}

}  // namespace
}  // namespace recallbench
