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

}  // namespace
}  // namespace recallbench
