#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/names.h"
#include "kernels/base/text.h"
#include "sweeps/config/node.h"
#include "sweeps/config/recipe.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

/// Where recipes are looked for, the first that has a name wins: $RECALLBENCH_RECIPES, the source
/// tree that this was built from, if it is still there, and the installation's share folder.
std::vector<fs::path> recipe_folders() {
  std::vector<fs::path> folders;
  if (const char* chosen = std::getenv("RECALLBENCH_RECIPES"); chosen != nullptr && *chosen != '\0')
    folders.emplace_back(chosen);
#ifdef RECALLBENCH_SOURCE_RECIPES
  folders.emplace_back(RECALLBENCH_SOURCE_RECIPES);
#endif
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  if (!program.empty())
    folders.push_back(program.parent_path().parent_path() / "share" / "recallbench" / "recipes");
  return folders;
}

/// Its key `description`; empty where it has none or is no TOML, as whoever loads it is told.
std::string description_of(const std::string& toml) {
  try {
    const Node root = parse_toml(toml, "recipe");
    const Node* node = root.get<Table>()->find("description");
    const std::string* text = node == nullptr ? nullptr : node->get<std::string>();
    return text == nullptr ? "" : *text;
  } catch (const Error&) {
    return "";
  }
}

bool looks_like_path(const std::string& name) {
  return name.find('/') != std::string::npos || name.ends_with(".toml");
}

std::string read_recipe_file(const std::string& path) {
  return read_file(path, kLargestRecipe, ErrorKind::usage);
}

}  // namespace

std::vector<RecipeInfo> known_recipes() {
  std::vector<RecipeInfo> recipes;
  std::set<std::string> names;
  for (const fs::path& folder : recipe_folders()) {
    std::error_code missing;
    for (const fs::directory_entry& file : fs::directory_iterator(folder, missing)) {
      const std::string name = file.path().stem().string();
      std::error_code dangling;
      if (file.path().extension() != ".toml" || !file.is_regular_file(dangling)) continue;
      if (!names.insert(name).second) continue;
      const std::string path = file.path().lexically_normal().string();
      recipes.push_back({name, path, description_of(read_recipe_file(path))});
    }
  }
  std::sort(recipes.begin(), recipes.end(),
            [](const RecipeInfo& a, const RecipeInfo& b) { return a.name < b.name; });
  return recipes;
}

Recipe load_recipe(const std::string& path_or_name, const std::vector<std::string>& overrides,
                   std::int64_t max_runs, const std::vector<std::string>& models) {
  std::error_code ignored;
  if (looks_like_path(path_or_name) || fs::is_regular_file(path_or_name, ignored))
    return parse_recipe(read_recipe_file(path_or_name), path_or_name, overrides, max_runs, models);
  std::vector<std::string> names;
  for (const RecipeInfo& recipe : known_recipes()) {
    if (recipe.name == path_or_name)
      return parse_recipe(read_recipe_file(recipe.path), recipe.name + ".toml", overrides, max_runs,
                          models);
    names.push_back(recipe.name);
  }
  fail(ErrorKind::usage, "recipe",
       "{} is neither a file nor a recipe that comes with the program{}", in_quotes(path_or_name),
       hint_for(path_or_name, names));
}

std::optional<std::string> expected_file(const std::string& recipe) {
  for (const RecipeInfo& known : known_recipes()) {
    if (known.name != recipe) continue;
    const std::string path = fs::path(known.path).replace_extension(".expected.csv").string();
    if (path_exists(path)) return path;
  }
  return std::nullopt;
}

ModelConfig load_model_config(const std::string& path) {
  return parse_model_config(read_recipe_file(path), path);
}

}  // namespace recallbench
