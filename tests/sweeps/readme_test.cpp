#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "sweeps/config/read_run.h"
#include "sweeps/config/recipe.h"

namespace recallbench {
namespace {

std::string page(const std::string& path) {
  std::ifstream file(RECALLBENCH_SOURCE_DIR "/" + path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The first recipe that a page shows.
std::string shown(const std::string& text) {
  const std::string fence = "```toml\n";
  const std::size_t begin = text.find(fence) + fence.size();
  return text.substr(begin, text.find("```\n", begin) - begin);
}

TEST(Readme, RecipesThatPagesShowAreRead) {
  const Recipe whole = parse_recipe(shown(page("sweeps/README.md")), "sweeps/README.md");
  EXPECT_EQ(whole.name, "first");
  EXPECT_EQ(whole.runs.size(), 12u);
  const Recipe front = parse_recipe(shown(page("README.md")), "README.md");
  EXPECT_EQ(front.runs.size(), 24u);
}

TEST(Readme, EveryKeyOfARecipeHasARow) {
  std::set<std::string> rows;
  std::istringstream lines(page("sweeps/README.md"));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("| `")) rows.insert(line.substr(3, line.find('`', 3) - 3));
  for (const std::string& path : known_paths()) {
    const std::string key = path.substr(path.rfind('.') + 1);
    EXPECT_EQ(rows.count(key), 1u) << path << " has no row in sweeps/README.md";
  }
  for (const char* key : {"schema", "name", "description", "task", "num_examples"})
    EXPECT_EQ(rows.count(key), 1u) << key;
}

/// "64/4 x 400, 64/8 x 400": tokens, pairs and examples of the segments.
std::string text_of(const std::vector<SegmentConfig>& segments) {
  std::vector<std::string> texts;
  for (const SegmentConfig& s : segments)
    texts.push_back(fmt::format("{}/{} x {}", std::get<std::int64_t>(s.options.at("input_seq_len")),
                                std::get<std::int64_t>(s.options.at("num_kv_pairs")),
                                s.num_examples));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string rates_of(const Recipe& recipe) {
  std::set<double> rates;
  for (const RunConfig& run : recipe.runs)
    rates.insert(run.train.lr);
  return fmt::format("{}{:.3g}", rates.size() > 1 ? "best of " : "", fmt::join(rates, ", "));
}

TEST(Readme, TheSmallFigureSaysWhatDiffersFromTheLargeOne) {
  const std::string text = page("results/measured/based-figure2-small/README.md");
  const Recipe large = load_recipe("based-figure2"), small = load_recipe("based-figure2-small");
  const auto expect_row = [&](const char* name, const auto& cell) {
    const std::string row = fmt::format("\n| {} | {} | {} |\n", name, cell(large), cell(small));
    EXPECT_NE(text.find(row), std::string::npos) << row;
  };
  const auto expect_row_of_runs = [&](const char* name, const auto& cell) {
    expect_row(name, [&](const Recipe& recipe) { return cell(recipe.runs.at(0)); });
  };
  expect_row("learning rate", rates_of);
  expect_row_of_runs("vocabulary", [](const RunConfig& run) { return run.model.vocab_size; });
  expect_row_of_runs("training, tokens/pairs x examples",
                     [](const RunConfig& run) { return text_of(run.task.train); });
  expect_row_of_runs("validation", [](const RunConfig& run) {
    return run.task.valid.empty() ? "the test data" : text_of(run.task.valid);
  });
  expect_row_of_runs("test", [](const RunConfig& run) { return text_of(run.task.test); });
  expect_row_of_runs("batch, training and test", [](const RunConfig& run) {
    return fmt::format("{}, {}", run.task.train_batch_size, run.task.test_batch_size);
  });
  expect_row_of_runs("epochs, at most", [](const RunConfig& run) { return run.train.max_epochs; });
  expect_row_of_runs("ended above accuracy",
                     [](const RunConfig& run) { return run.train.early_stopping->threshold; });
  expect_row_of_runs("dropout of embeddings, of attention's weights", [](const RunConfig& run) {
    return fmt::format("{}, {}", run.model.embed_dropout,
                       std::get<double>(run.model.layers.at(1).options.at("dropout")));
  });
}

}  // namespace
}  // namespace recallbench
