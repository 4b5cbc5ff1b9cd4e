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

std::string read_recipe_file(const std::string& path) {
  return read_file(path, kLargestRecipe, ErrorKind::usage);
}

/// Its key `description`; empty where it has none.
std::string description_of(const std::string& path) {
  const Node root = parse_toml(read_recipe_file(path), path);
  const Node* node = root.get<Table>()->find("description");
  const std::string* text = node == nullptr ? nullptr : node->get<std::string>();
  return text == nullptr ? "" : *text;
}

bool looks_like_path(const std::string& name) {
  return name.find('/') != std::string::npos || name.ends_with(".toml");
}

}  // namespace

std::optional<std::string> recipe_file(const std::string& name) {
  if (looks_like_path(name)) return std::nullopt;
  for (const fs::path& folder : recipe_folders()) {
    const fs::path file = folder / (name + ".toml");
    std::error_code missing;
    if (fs::is_regular_file(file, missing)) return file.lexically_normal().string();
  }
  return std::nullopt;
}

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
      RecipeInfo info{name, file.path().lexically_normal().string(), "", ""};
      try {
        info.description = description_of(info.path);
      } catch (const Error& error) {
        info.problem = error.what();
      }
      recipes.push_back(std::move(info));
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
  if (const auto file = recipe_file(path_or_name))
    return parse_recipe(read_recipe_file(*file), path_or_name + ".toml", overrides, max_runs,
                        models);
  std::vector<std::string> names;
  for (const RecipeInfo& recipe : known_recipes())
    names.push_back(recipe.name);
  fail(ErrorKind::usage, "recipe",
       "{} is neither a file nor a recipe that comes with the program{}", in_quotes(path_or_name),
       hint_for(path_or_name, names));
}

std::optional<std::string> expected_file(const std::string& name) {
  const std::optional<std::string> file = recipe_file(name);
  if (!file) return std::nullopt;
  const std::string path = fs::path(*file).replace_extension(".expected.csv").string();
  return path_exists(path) ? std::optional(path) : std::nullopt;
}

ModelConfig load_model_config(const std::string& path) {
  return parse_model_config(read_recipe_file(path), path);
}

}  // namespace recallbench
