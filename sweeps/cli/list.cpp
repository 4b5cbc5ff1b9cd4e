#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "kernels/base/error.h"
#include "kernels/base/io/json.h"
#include "kernels/base/names.h"
#include "kernels/base/text.h"
#include "sweeps/cli/cli.h"
#include "sweeps/cli/deviations.h"
#include "sweeps/config/describe.h"
#include "sweeps/config/recipe.h"
#include "sweeps/config/resolve.h"

namespace recallbench {
namespace {

using Row = std::vector<std::string>;

/// `all`, or the one called `name` where that is given.
template <class Entry>
std::vector<Entry> chosen(std::vector<Entry> all, const std::string& kind,
                          const std::optional<std::string>& name) {
  if (!name) return all;
  std::vector<std::string> known;
  for (Entry& entry : all) {
    if (entry.name == *name) return {std::move(entry)};
    known.push_back(entry.name);
  }
  fail(ErrorKind::usage, kind, "there is no {} '{}'{}", kind, printable(*name),
       kind == "mixer" ? mixer_hint(*name) : hint_for(*name, known));
}

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

int list_recipes(const std::vector<RecipeInfo>& recipes, bool json) {
  if (!json) {
    std::vector<Row> rows;
    for (const RecipeInfo& recipe : recipes)
      rows.push_back({recipe.name, recipe.problem.empty() ? recipe.description
                                                          : "unreadable: " + recipe.problem});
    print_rows(rows, "");
    return kDone;
  }
  Json list{Json::Array{}};
  for (const RecipeInfo& recipe : recipes) {
    Json entry;
    entry["name"] = recipe.name;
    entry["path"] = recipe.path;
    entry["description"] = recipe.problem.empty() ? Json(recipe.description) : Json();
    entry["problem"] = recipe.problem.empty() ? Json() : Json(recipe.problem);
    list.push_back(std::move(entry));
  }
  fmt::print("{}", list.indented());
  return kDone;
}

}  // namespace

void add_list(CommandLine& line) {
  CLI::App* list = line.app.add_subcommand("list", "What there is: mixers, tasks or recipes");
  const auto what = std::make_shared<std::string>();
  const auto name = std::make_shared<std::optional<std::string>>();
  list->add_option("what", *what, "mixers, tasks or recipes")
      ->required()
      ->check(CLI::IsMember({"mixers", "tasks", "recipes"}));
  list->add_option("name", *name, "One of them, to see it alone");
  list->footer(
      "Examples:\n"
      "  recallbench list recipes\n"
      "  recallbench list mixers --json\n"
      "  recallbench list mixers based");
  list->callback([&line, what, name] {
    line.action = [&line, what, name] {
      const bool json = line.common.json;
      if (*what == "recipes") return list_recipes(chosen(known_recipes(), "recipe", *name), json);
      return list_descriptions(*what == "mixers" ? chosen(describe_mixers(), "mixer", *name)
                                                 : chosen(describe_tasks(), "task", *name),
                               json);
    };
  });
}

}  // namespace recallbench
