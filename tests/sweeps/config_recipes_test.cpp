#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "kernels/base/error.h"
#include "mixers/model.h"
#include "tests/sweeps/config_support.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

std::int64_t integer(const Values& values, const char* key) {
  return std::get<std::int64_t>(values.at(key));
}

/// "L/n x examples" of every segment.
std::string text_of(const std::vector<SegmentConfig>& segments) {
  std::string text;
  for (const SegmentConfig& segment : segments)
    text += fmt::format("{}/{} x {}; ", integer(segment.options, "input_seq_len"),
                        integer(segment.options, "num_kv_pairs"), segment.num_examples);
  return text;
}

std::map<std::string, int> count_by_model(const Recipe& recipe) {
  std::map<std::string, int> counts;
  for (const RunConfig& run : recipe.runs)
    ++counts[run.model_name];
  return counts;
}

void expect_rates(const Recipe& recipe, const std::vector<double>& exponents) {
  std::set<double> rates;
  for (const RunConfig& run : recipe.runs)
    rates.insert(run.train.lr);
  ASSERT_EQ(rates.size(), exponents.size());
  std::size_t i = 0;
  for (const double rate : rates) {
    const double error = std::abs(rate / std::pow(10.0, exponents[i++]) - 1);
    EXPECT_TRUE(error <= 1e-15) << rate;
  }
}

TEST(Recipes, EveryShippedRecipeParsesAndIsNamedLikeItsFile) {
  const std::vector<RecipeInfo> recipes = known_recipes();
  EXPECT_GE(recipes.size(), 2u);
  for (const RecipeInfo& info : recipes) {
    const Recipe recipe = load_recipe(info.name);
    EXPECT_EQ(recipe.name, info.name);
    EXPECT_FALSE(recipe.runs.empty()) << info.name;
    EXPECT_FALSE(info.description.empty()) << info.name;
    EXPECT_EQ(info.description, recipe.description);
  }
}

TEST(Recipes, BasedFigure2) {
  const Recipe recipe = load_recipe("based-figure2");
  EXPECT_EQ(count_by_model(recipe), (std::map<std::string, int>{{"attention", 8},
                                                                {"based", 36},
                                                                {"h3", 12},
                                                                {"hyena", 12},
                                                                {"mamba", 36},
                                                                {"mamba2", 36},
                                                                {"sliding_window", 32}}));
  expect_rates(recipe, {-3, -2.5, -2, -1.5});
  for (const RunConfig& run : recipe.runs) {
    EXPECT_EQ(text_of(run.task.train),
              "64/4 x 100000; 128/8 x 20000; 256/16 x 20000; 256/32 x 20000; 256/64 x 20000; ");
    EXPECT_EQ(text_of(run.task.test),
              "64/4 x 1000; 64/8 x 1000; 64/16 x 1000; 128/32 x 1000; 256/64 x 1000; "
              "512/128 x 1000; 1024/256 x 1000; ");
    EXPECT_EQ(run.task.train_batch_size, 256);
    EXPECT_EQ(run.task.test_batch_size, 32);
    EXPECT_EQ(run.task.data_seed, 123u);
    EXPECT_EQ(run.seed, 123u);
    EXPECT_TRUE(run.model.zoology);
    EXPECT_EQ(run.model.vocab_size, 8192);
    EXPECT_EQ(run.model.max_position_embeddings, 0);
    EXPECT_EQ(run.model.n_layers, 2);
    EXPECT_EQ(run.model.state_mixer.type, "identity");
    const bool own_block = run.model_name == "mamba" || run.model_name == "mamba2";
    EXPECT_EQ(run.model.block, own_block ? run.model_name : "transformer");
    EXPECT_EQ(run.train.max_epochs, 32);
    EXPECT_EQ(run.train.weight_decay, 0.1);
    ASSERT_TRUE(run.train.early_stopping.has_value());
    EXPECT_EQ(run.train.early_stopping->threshold, 0.99);
    for (const SegmentConfig& segment : run.task.train)
      EXPECT_TRUE(std::get<bool>(segment.options.at("random_non_queries")));
  }
  std::set<std::int64_t> windows, widths;
  for (const RunConfig& run : recipe.runs) {
    if (run.model_name == "sliding_window")
      windows.insert(integer(run.model.layers[1].options, "block_size"));
    if (run.model_name == "based") widths.insert(run.model.d_model);
  }
  EXPECT_EQ(windows, (std::set<std::int64_t>{8, 16, 32, 64, 128, 256, 512, 1024}));
  EXPECT_EQ(widths, (std::set<std::int64_t>{48, 64, 128}));
}

// Bytes at 1024 tokens, as the reference or (Mamba) the papers report them.
TEST(Recipes, BasedFigure2HasThePublishedStateSizes) {
  std::map<std::string, std::set<double>> sizes;
  std::map<std::string, int> models;
  for (const RunConfig& run : load_recipe("based-figure2").runs) {
    if (run.train.lr != 1e-2) continue;
    ++models[run.model_name];
    sizes[run.model_name].insert(
        Model(run.model, DType::f32, 1).published_state_bytes(1024).value());
  }
  const std::map<std::string, std::set<double>> expected = {
      {"attention", {525056, 1050112}},
      {"based", {9396, 12468, 24756, 30564, 40548, 80484, 64276, 85268, 169236}},
      {"sliding_window", {9728, 17920, 34304, 67072, 132608, 263680, 525824, 1050112}},
      {"mamba", {8192, 16384, 24576, 32768, 49152, 65536, 98304}},
      {"mamba2", {8192, 16384, 24576, 32768, 49152, 65536, 98304}},
      {"hyena", {524288, 1048576, 2097152}},
      {"h3", {8192, 32768, 131072}}};
  EXPECT_EQ(sizes, expected);
  int all = 0;
  for (const auto& [name, count] : models)
    all += count;
  EXPECT_EQ(all, 43);
}

// based-figure2's runs are among them, and need not be trained again.
TEST(Recipes, RecallMemoryTradeoffAddsFourFamilies) {
  std::map<std::string, std::set<double>> sizes;
  std::set<std::string> ids;
  const Recipe recipe = load_recipe("recall-memory-tradeoff");
  EXPECT_EQ(recipe.runs.size(), 4u * 55);
  expect_rates(recipe, {-3, -2.5, -2, -1.5});
  for (const RunConfig& run : recipe.runs) {
    ids.insert(run_id(run));
    sizes[run.model_name].insert(
        Model(run.model, DType::f32, 1).published_state_bytes(1024).value());
  }
  EXPECT_EQ(sizes.at("delta_net"), (std::set<double>{8960, 34304, 134144}));
  EXPECT_EQ(sizes.at("gated_delta_net"), (std::set<double>{17152, 67072, 265216}));
  EXPECT_EQ(sizes.at("gla"), (std::set<double>{4864, 17920, 68608}));
  EXPECT_EQ(sizes.at("rwkv7"), (std::set<double>{17152, 34304, 68608}));
  for (const RunConfig& run : load_recipe("based-figure2").runs)
    EXPECT_EQ(ids.count(run_id(run)), 1u) << run.model_name;
}

TEST(Recipes, FeatureMaps) {
  const Recipe recipe = load_recipe("feature-maps");
  std::map<std::string, std::set<Index>> widths;
  for (const RunConfig& run : recipe.runs) {
    widths[run.model_name].insert(run.model.d_model);
    const Values& options = run.model.layers[1].options;
    const bool taylor = run.model_name.starts_with("taylor");
    EXPECT_EQ(integer(options, "feature_dim"), run.model_name == "taylor 16"   ? 16
                                               : run.model_name == "taylor 24" ? 24
                                                                               : run.model.d_model);
    EXPECT_EQ(std::get<std::string>(options.at("feature_map")),
              taylor ? "taylor_exp" : run.model_name);
  }
  EXPECT_EQ(recipe.runs.size(), 4u * 9 * 8);
  EXPECT_EQ(widths.size(), 9u);
  for (const auto& [name, of_map] : widths)
    EXPECT_EQ(of_map, (std::set<Index>{64, 128, 192, 256, 320, 384, 448, 512})) << name;
}

TEST(Recipes, ZoologyFigure2) {
  const Recipe recipe = load_recipe("zoology-figure2");
  EXPECT_EQ(count_by_model(recipe), (std::map<std::string, int>{{"attention", 64},
                                                                {"base_conv", 64},
                                                                {"based", 64},
                                                                {"h3", 64},
                                                                {"hyena", 64},
                                                                {"mamba", 64},
                                                                {"rwkv", 64}}));
  expect_rates(recipe, {-4, -10.0 / 3, -8.0 / 3, -2});
  const std::map<std::int64_t, std::pair<std::int64_t, std::int64_t>> pairs_and_batch = {
      {64, {4, 512}}, {128, {8, 512}}, {256, {16, 256}}, {512, {64, 128}}};
  std::set<std::int64_t> widths;
  for (const RunConfig& run : recipe.runs) {
    const std::int64_t length = integer(run.task.train[0].options, "input_seq_len");
    const auto [pairs, batch] = pairs_and_batch.at(length);
    EXPECT_EQ(text_of(run.task.train), fmt::format("{}/{} x 100000; ", length, pairs));
    EXPECT_EQ(text_of(run.task.test), fmt::format("{}/{} x 3000; ", length, pairs));
    EXPECT_FALSE(std::get<bool>(run.task.train[0].options.at("random_non_queries")));
    EXPECT_FALSE(std::get<bool>(run.task.test[0].options.at("random_non_queries")));
    EXPECT_EQ(run.task.train_batch_size, batch);
    EXPECT_EQ(run.task.test_batch_size, batch);
    EXPECT_EQ(run.model.max_position_embeddings, run.model_name == "attention" ? length : 0);
    EXPECT_EQ(run.train.max_epochs, 64);
    const Values& options = run.model.layers[0].options;
    if (run.model_name == "hyena" || run.model_name == "h3") {
      EXPECT_EQ(integer(options, "l_max"), length);
    }
    if (run.model_name == "h3") {
      EXPECT_EQ(integer(options, "d_state"), length);
    }
    widths.insert(run.model.d_model);
  }
  EXPECT_EQ(widths, (std::set<std::int64_t>{64, 128, 256, 512}));
}

/// A folder of its own, named by RECALLBENCH_RECIPES while it lives.
class RecipeFolder {
 public:
  RecipeFolder() : path_(fs::temp_directory_path() / fmt::format("recipes-{}", ::getpid())) {
    fs::create_directories(path_);
    ::setenv("RECALLBENCH_RECIPES", path_.c_str(), 1);
  }
  ~RecipeFolder() {
    ::unsetenv("RECALLBENCH_RECIPES");
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
    return (path_ / name).string();
  }

 private:
  fs::path path_;
};

TEST(Recipes, AFolderOfTheUsersComesFirst) {
  const RecipeFolder folder;
  const std::string path =
      folder.write("based-figure2.toml",
                   "# Whose?\ndescription = \"Mine\"\n" + with(kPlainRecipe, "plain", "mine"));
  folder.write("broken.toml", "description = \"Mine\" too");
  EXPECT_EQ(load_recipe("based-figure2").name, "mine");
  EXPECT_EQ(load_recipe(path, {"seed=1,2"}).runs.size(), 2u);
  bool found = false;
  for (const RecipeInfo& info : known_recipes())
    if (info.name == "based-figure2") {
      found = true;
      EXPECT_EQ(info.description, "Mine");
      EXPECT_EQ(info.path, path);
    } else if (info.name == "broken") {
      EXPECT_EQ(info.description, "");
      EXPECT_NE(info.problem.find("broken.toml:1"), std::string::npos) << info.problem;
    }
  EXPECT_TRUE(found);
}

TEST(Recipes, WhatIsNoFileInAFolderIsNoRecipe) {
  const RecipeFolder folder;
  const fs::path mine = folder.write("mine.toml", "# Mine\n" + with(kPlainRecipe, "plain", "mine"));
  fs::create_directory(mine.parent_path() / "folder.toml");
  fs::create_symlink("nowhere", mine.parent_path() / "dangling.toml");
  fs::create_symlink("/dev/zero", mine.parent_path() / "demo.toml");
  ASSERT_EQ(::mkfifo((mine.parent_path() / "pipe.toml").c_str(), 0600), 0);
  EXPECT_EQ(load_recipe("mine").name, "mine");
  EXPECT_EQ(load_recipe("demo").name, "demo");
  for (const RecipeInfo& info : known_recipes())
    EXPECT_TRUE(fs::is_regular_file(info.path)) << info.path;
}

TEST(Recipes, OneThatCannotBeReadStandsInNoOthersWay) {
  const RecipeFolder folder;
  folder.write("huge.toml", std::string((std::size_t{1} << 20) + 1, '#'));
  EXPECT_EQ(load_recipe("demo").name, "demo");
  EXPECT_TRUE(expected_file("demo").has_value());
  bool found = false, demo = false;
  for (const RecipeInfo& info : known_recipes()) {
    demo = demo || info.name == "demo";
    if (info.name != "huge") {
      EXPECT_EQ(info.problem, "");
      continue;
    }
    found = true;
    EXPECT_NE(info.problem.find(info.path), std::string::npos) << info.problem;
  }
  EXPECT_TRUE(found && demo);
}

TEST(Recipes, OnlyANameIsLookedForInFolders) {
  const RecipeFolder folder;
  const std::string path = folder.write("mine.toml", with(kPlainRecipe, "plain", "mine"));
  EXPECT_EQ(recipe_file("mine"), path);
  for (const char* other : {"mine.toml", "./mine", "../recipes/demo", "", "nothing"})
    EXPECT_EQ(recipe_file(other), std::nullopt) << other;
}

std::string load_message(const std::string& name) {
  try {
    load_recipe(name);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

TEST(Recipes, UnknownNamesAndMissingFilesAreUsageErrors) {
  EXPECT_NE(load_message("based-figur2").find("did you mean 'based-figure2'?"), std::string::npos);
  EXPECT_NE(load_message("no/such.toml").find("no/such.toml"), std::string::npos);
  EXPECT_NE(load_message("such.toml").find("such.toml"), std::string::npos);
  EXPECT_FALSE(load_message("/").empty());
}

TEST(ModelFile, IsALoneModelTable) {
  const std::string head = "[model]\nvocab_size = 48\nd_model = 16\n";
  const std::string layers = "layers = [{mixer = \"attention\", num_heads = 2}]\n";
  const ModelConfig model = parse_model_config(
      head +
          "compat = \"zoology\"\nblock = \"transformer\"\n"
          "state_mixer = {type = \"glu\", hidden_mult = 2, activation = \"gelu\"}\n" +
          layers,
      "m.toml");
  EXPECT_TRUE(model.zoology);
  EXPECT_EQ(model.vocab_size, 48);
  EXPECT_EQ(model.state_mixer.type, "glu");
  EXPECT_EQ(model.state_mixer.hidden_mult, 2);
  EXPECT_EQ(integer(model.layers[0].options, "num_heads"), 2);
  EXPECT_FALSE(parse_model_config(head + layers, "m.toml").zoology);

  const auto message = [](const std::string& toml) -> std::string {
    try {
      parse_model_config(toml, "m.toml");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message("schema = 1\n" + head).find("m.toml:1:1: unknown key 'schema'"),
            std::string::npos);
  EXPECT_NE(message(head + "compat = \"mad\"\n" + layers).find("m.toml:4:10"), std::string::npos);
  EXPECT_NE(message(head).find("needs the key 'layers'"), std::string::npos);
  EXPECT_NE(message("").find("needs a [model] table"), std::string::npos);
  EXPECT_NE(message(head + "layers = [{mixer = \"$mixer\"}]\n").find("m.toml:4:20"),
            std::string::npos);
}

}  // namespace
}  // namespace recallbench
