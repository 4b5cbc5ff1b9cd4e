#include "sweeps/store/status.h"

#include <fmt/format.h>

#include <memory>

#include "kernels/base/io/json.h"
#include "kernels/base/text.h"
#include "sweeps/cli/cli.h"

namespace recallbench {
namespace {

constexpr RunState kStates[] = {RunState::done,   RunState::diverged,   RunState::running,
                                RunState::failed, RunState::unreadable, RunState::missing};

void print_json(const std::string& results, const Manifest& manifest,
                const std::vector<RunStatus>& statuses) {
  Json json;
  json["sweep"] = manifest.name;
  json["results"] = results;
  json["total"] = statuses.size();
  json["earlier"] = manifest.earlier.size();
  for (const RunState state : kStates)
    json[to_string(state)] = count_state(statuses, state);
  json["runs"] = Json(Json::Array{});
  for (const RunStatus& status : statuses) {
    Json run;
    run["run_id"] = status.run_id;
    run["label"] = status.label;
    run["status"] = to_string(status.state);
    run["reason"] = status.reason;
    json["runs"].push_back(std::move(run));
  }
  fmt::print("{}", json.indented());
}

/// Counts, then every run that is neither done nor simply waiting for its turn.
void print_text(const std::string& results, const Manifest& manifest,
                const std::vector<RunStatus>& statuses) {
  fmt::print("{}: sweep {}, {} run{}\n", printable(results, 1000), manifest.name, statuses.size(),
             statuses.size() == 1 ? "" : "s");
  for (const RunState state : kStates)
    if (const std::int64_t count = count_state(statuses, state); count > 0)
      fmt::print("  {:<10}{:>6}\n", to_string(state), count);
  if (!manifest.earlier.empty())
    fmt::print("  and {} asked for earlier, but not by the latest command\n",
               manifest.earlier.size());
  for (const RunStatus& status : statuses) {
    if (status.state == RunState::done || status.reason == kNotStarted) continue;
    const std::string reason = status.reason.empty() ? "" : ": " + printable(status.reason, 500);
    fmt::print("{:<10} {}  {}{}\n", to_string(status.state), status.run_id, status.label, reason);
  }
}

int status_command(const std::string& results, const CommonOptions& common) {
  const Manifest manifest = read_manifest(results);
  const std::vector<RunStatus> statuses = run_statuses(results, manifest);
  if (common.json)
    print_json(results, manifest, statuses);
  else
    print_text(results, manifest, statuses);
  return kDone;
}

}  // namespace

void add_status(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand(
      "status", "What of a sweep is done, running, failed, unreadable, missing");
  const auto results = std::make_shared<std::string>();
  command->add_option("RESULTS", *results, "a sweep's folder (results/<sweep>)")->required();
  command->footer(
      "Examples:\n"
      "  recallbench status results/demo\n"
      "  recallbench status results/demo --json");
  command->callback([&line, results] {
    line.action = [&line, results] { return status_command(*results, line.common); };
  });
}

}  // namespace recallbench
