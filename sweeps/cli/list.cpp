#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "kernels/base/io/json.h"
#include "sweeps/cli/cli.h"
#include "sweeps/cli/deviations.h"
#include "sweeps/config/describe.h"
#include "sweeps/config/recipe.h"

namespace recallbench {
namespace {

using Row = std::vector<std::string>;

/// Columns padded to their widest cell, the last one left ragged.
void print_rows(const std::vector<Row>& rows, const char* indent) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    std::string line = indent;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  }
}

void print_descriptions(const std::vector<Description>& all) {
  for (const Description& one : all) {
    const bool is_foreign = !one.origin.empty() && one.origin != "built in";
    fmt::print("{}  {}{}\n", one.name, one.summary,
               is_foreign ? fmt::format(" (from {})", one.origin) : "");
    std::vector<Row> rows;
    for (const OptionInfo& parameter : one.parameters)
      rows.push_back({parameter.key,
                      parameter.default_value.empty() ? "required" : parameter.default_value,
                      parameter.type, parameter.help});
    print_rows(rows, "    ");
    for (const Deviation& deviation : one.deviations)
      fmt::print("{}\n", deviation_text(deviation));
  }
}

Json to_json(const std::vector<Description>& all) {
  Json list{Json::Array{}};
  for (const Description& one : all) {
    Json entry;
    entry["name"] = one.name;
    entry["summary"] = one.summary;
    if (!one.origin.empty()) entry["origin"] = one.origin;
    Json parameters{Json::Array{}};
    for (const OptionInfo& info : one.parameters) {
      Json parameter;
      parameter["key"] = info.key;
      parameter["type"] = info.type;
      parameter["default"] = info.default_value;
      parameter["help"] = info.help;
      parameters.push_back(std::move(parameter));
    }
    entry["parameters"] = std::move(parameters);
    if (!one.deviations.empty()) entry["deviations"] = to_json(one.deviations);
    list.push_back(std::move(entry));
  }
  return list;
}

int list_descriptions(const std::vector<Description>& all, bool json) {
  if (json)
    fmt::print("{}", to_json(all).indented());
  else
    print_descriptions(all);
  return kDone;
}

int list_recipes(bool json) {
  const std::vector<RecipeInfo> recipes = known_recipes();
  if (!json) {
    std::vector<Row> rows;
    for (const RecipeInfo& recipe : recipes)
      rows.push_back({recipe.name, recipe.description});
    print_rows(rows, "");
    return kDone;
  }
  Json list{Json::Array{}};
  for (const RecipeInfo& recipe : recipes) {
    Json entry;
    entry["name"] = recipe.name;
    entry["path"] = recipe.path;
    entry["description"] = recipe.description;
    list.push_back(std::move(entry));
  }
  fmt::print("{}", list.indented());
  return kDone;
}

}  // namespace

void add_list(CommandLine& line) {
  CLI::App* list = line.app.add_subcommand("list", "What there is: mixers, tasks or recipes");
  const auto what = std::make_shared<std::string>();
  list->add_option("what", *what, "mixers, tasks or recipes")
      ->required()
      ->check(CLI::IsMember({"mixers", "tasks", "recipes"}));
  list->footer(
      "Examples:\n"
      "  recallbench list recipes\n"
      "  recallbench list mixers --json");
  list->callback([&line, what] {
    line.action = [&line, what] {
      if (*what == "recipes") return list_recipes(line.common.json);
      return list_descriptions(*what == "mixers" ? describe_mixers() : describe_tasks(),
                               line.common.json);
    };
  });
}

}  // namespace recallbench
