#include "sweeps/cli/sweep_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "analysis/report.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/json.h"
#include "kernels/base/io/terminal.h"
#include "kernels/base/text.h"
#include "kernels/base/version.h"
#include "sweeps/config/recipe.h"
#include "sweeps/run/child.h"
#include "sweeps/run/cores.h"
#include "sweeps/run/device_choice.h"
#include "sweeps/run/estimate.h"
#include "sweeps/run/schedule.h"
#include "sweeps/run/signals.h"
#include "sweeps/run/sweep.h"
#include "sweeps/store/labels.h"
#include "sweeps/store/record.h"

namespace recallbench {
namespace {

constexpr std::size_t kShownRuns = 3;  // at either end of a dry run's list

std::string results_folder(const SweepArguments& arguments, const Recipe& recipe) {
  return arguments.out.empty() ? "results/" + recipe.name : arguments.out;
}

int jobs_of(const SweepArguments& arguments) {
  return arguments.jobs > 0 ? arguments.jobs : usable_cores();
}

std::vector<std::string> worker_command(const SweepArguments& arguments,
                                        const CommonOptions& common) {
  std::vector<std::string> command = {"/proc/self/exe", "worker"};
  for (const std::string& plugin : common.plugins) {
    command.push_back("--plugin");
    command.push_back(plugin);
  }
  if (arguments.record_host) command.push_back("--record-host");
  return command;
}

SweepRequest make_request(const SweepArguments& arguments, const CommonOptions& common,
                          const Recipe& recipe) {
  SweepRequest request;
  request.name = recipe.name;
  request.runs = recipe.runs;
  request.driver.results = results_folder(arguments, recipe);
  request.driver.jobs = jobs_of(arguments);
  const DeviceChoice device = choose_device(common.device);
  request.driver.gpus = device.gpus;
  request.driver.population = [device = device.device,
                               most = arguments.population](const RunConfig& run) {
    return most > 0 ? most : population_size(run, device);
  };
  request.driver.run_timeout_s = arguments.run_timeout_s;
  request.driver.worker = worker_command(arguments, common);
  return request;
}

/// What the recipe leaves to the device: tf32 on a GPU, which keeps the accuracies of fp32
/// (results/measured/based-figure2); a CPU knows fp32 alone.
void choose_precision(std::vector<RunConfig>& runs, Device device) {
  const bool is_mixed = std::any_of(runs.begin(), runs.end(), [&](const RunConfig& run) {
    return run.device_sets_precision != runs[0].device_sets_precision;
  });
  for (RunConfig& run : runs) {
    if (run.device_sets_precision && device == Device::cuda) run.precision = "tf32";
    run.device_sets_precision = false;
    if (device == Device::cpu && run.precision != "fp32")
      fail(ErrorKind::usage, "sweep", "precision '{}' needs --device cuda; a CPU has fp32 alone",
           run.precision);
  }
  // Now auto may be the same as one that is asked for beside it.
  std::set<std::string> ids;
  if (is_mixed)
    std::erase_if(runs, [&](const RunConfig& run) { return !ids.insert(run_id(run)).second; });
}

/// The recipe's runs, of the wanted models alone.
Recipe load_wanted(const SweepArguments& arguments, const CommonOptions& common) {
  std::vector<std::string> wanted;
  if (arguments.models)
    for (const std::string_view name : split(*arguments.models, ','))
      wanted.emplace_back(trimmed(name));
  Recipe recipe = load_recipe(arguments.recipe, arguments.overrides, arguments.max_runs, wanted);
  choose_precision(recipe.runs, choose_device(common.device).device);
  return recipe;
}

Estimate estimate_of(const SweepRequest& request) {
  const DriverOptions& driver = request.driver;
  if (driver.gpus.empty())
    return estimate_on_cores(request.runs, std::min(driver.jobs, usable_cores()));
  return estimate_on_gpus(request.runs, static_cast<int>(driver.gpus.size()), driver.population);
}

int dry_run(const SweepRequest& request, const CommonOptions& common) {
  const Estimate estimate = estimate_of(request);
  const std::vector<std::string> labels = make_labels(request.runs).run;
  if (common.json) {
    Json json;
    json["sweep"] = request.name;
    json["results"] = request.driver.results;
    json["device"] = common.device;
    json["operations"] = estimate.operations;
    json["seconds"] = estimate.seconds;
    json["runs"] = Json(Json::Array{});
    for (std::size_t i = 0; i < labels.size(); ++i) {
      Json run;
      run["run_id"] = run_id(request.runs[i]);
      run["label"] = labels[i];
      json["runs"].push_back(std::move(run));
    }
    fmt::print("{}", json.indented());
    return kDone;
  }
  fmt::print("{}: {} run{}, results in {}\n", request.name, labels.size(),
             labels.size() == 1 ? "" : "s", printable(request.driver.results));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (i == kShownRuns && labels.size() > 2 * kShownRuns) {
      fmt::print("  ...\n");
      i = labels.size() - kShownRuns;
    }
    fmt::print("  {:>5}  {}  {}\n", i + 1, run_id(request.runs[i]), labels[i]);
  }
  const bool may_stop = std::any_of(request.runs.begin(), request.runs.end(), [](const auto& run) {
    return run.train.early_stopping.has_value();
  });
  fmt::print("at most {} floating-point operations: about {} {}{}\n",
             short_number(estimate.operations), duration_text(estimate.seconds), estimate.where,
             may_stop ? "; early stopping ends most runs sooner" : "");
  return kDone;
}

/// What a reader is told before any result, on standard error; the exit code.
int tell_outcome(const SweepRequest& request, const SweepOutcome& outcome, bool quiet) {
  const int code = exit_code_of(outcome);
  const std::string results = printable(request.driver.results, 1000);
  if (outcome.io_problem)
    fail(ErrorKind::io, "sweep",
         "results in '{}' must be writable; {}; free space or mend the folder, then run the same "
         "command: finished runs are kept",
         results, *outcome.io_problem);
  if (code == kInterrupted)
    fmt::print(stderr, "stopped by {}: {} of {} runs are done; run the same command to resume\n",
               signal_name(outcome.signal), outcome.counts.done, outcome.counts.total);
  for (const std::string& failure : outcome.failures)
    fmt::print(stderr, "failed: {}\n", failure);
  for (const std::string& problem : outcome.unreadable)
    fmt::print(stderr, "unreadable: {}\n", printable(problem, 1000));
  if (code == kSomeFailed && !outcome.failures.empty())
    fmt::print(stderr,
               "{} of {} runs failed: run.log in {}/runs says more (recallbench status {}); run "
               "the same command to try them again\n",
               outcome.failures.size(), outcome.counts.total, results, results);
  if (quiet) return code;
  if (outcome.already == outcome.counts.total)
    fmt::print(stderr, "all {} runs were done before; nothing was trained\n", outcome.counts.total);
  for (const auto& [program, runs] : outcome.programs)
    if (program != code_version())
      fmt::print(stderr,
                 "{} of the runs done before are of another program, {}; another --out trains them "
                 "with this one, {}\n",
                 runs, printable(program, 100), code_version());
  if (outcome.counts.diverged > 0)
    fmt::print(stderr, "{} of {} runs diverged; they never enter the frontier\n",
               outcome.counts.diverged, outcome.counts.total);
  return code;
}

/// frontier.csv and the figure; where nothing has changed since, those that are there.
ReportFiles make_report(const SweepArguments& arguments, const std::string& results,
                        const Frontier& frontier, bool is_new) {
  const std::string table = results + "/frontier.csv";
  if (arguments.no_plot) {
    publish(table, to_csv(frontier_table(frontier)));
    return {{table}, "", {}};
  }
  std::vector<std::string> there = {table};
  for (const std::string& name : figure_names(frontier))
    there.push_back(fmt::format("{}/{}.svg", results, name));
  if (!is_new && std::all_of(there.begin(), there.end(), path_exists)) return {there, "", {}};
  return write_frontier_and_figure(results, frontier, {});
}

Json outcome_json(const SweepRequest& request, const SweepOutcome& outcome) {
  const SweepCounts& counts = outcome.counts;
  Json json;
  json["sweep"] = request.name;
  json["results"] = request.driver.results;
  json["runs"] = counts.total;
  json["done"] = counts.done - counts.diverged;
  json["diverged"] = counts.diverged;
  json["failed"] = outcome.failures.size();
  json["unreadable"] = outcome.unreadable.size();
  json["trained_before"] = outcome.already;
  std::vector<std::string> failures = outcome.failures;
  failures.insert(failures.end(), outcome.unreadable.begin(), outcome.unreadable.end());
  json["failures"] = Json::list(failures);
  return json;
}

/// Table or JSON of the frontier, and where the files are.
void print_report(const SweepArguments& arguments, const CommonOptions& common,
                  const SweepRequest& request, const SweepOutcome& outcome) {
  const std::string& results = request.driver.results;
  const Frontier frontier = compute_frontier(load_summaries({results}));
  const ReportFiles report = make_report(arguments, results, frontier, outcome.summary_is_new);
  if (common.json) {
    Json json = outcome_json(request, outcome);
    json["frontier"] = parse_json(frontier_json(frontier), "frontier", ErrorKind::internal);
    json["files"] = Json::list(report.files);
    fmt::print("{}", json.indented());
  } else {
    fmt::print("{}", frontier_text(frontier));
    for (const std::string& file : report.files)
      fmt::print("{}\n", printable(file, 4096));
  }
  if (!common.quiet)
    for (const std::string& note : report.notes)
      fmt::print(stderr, "note: {}\n", note);
  if (!report.figure_problem.empty()) fmt::print(stderr, "no figure: {}\n", report.figure_problem);
}

SweepOutcome execute(const SweepRequest& request, const CommonOptions& common) {
  keep_open(request.driver.gpus);
  Progress progress(choose_progress(common.quiet), use_color(common.color, STDERR_FILENO));
  return run_sweep(request, progress);
}

void print_run(const SweepRequest& request, const SweepOutcome& outcome,
               const CommonOptions& common) {
  const std::string id = run_id(request.runs[0]);
  const std::optional<RunRecord> record = read_result(request.driver.results, id).record;
  if (!record) {
    if (common.json) fmt::print("{}", outcome_json(request, outcome).indented());
    return;
  }
  const RunPaths paths = run_paths(request.driver.results, id);
  if (common.json) {
    fmt::print("{}", read_file(paths.result, std::uint64_t{64} << 20));
    return;
  }
  const RunResult& result = record->result;
  fmt::print("{}: {} ({})\n", make_labels(request.runs).run[0], result.status, result.reason);
  fmt::print("  epochs          {}\n  steps           {}\n", result.epochs, result.steps);
  fmt::print("  valid accuracy  {:.4f}\n  test accuracy   {:.4f}  (chance {:.4f})\n",
             result.valid.accuracy, result.test.accuracy, result.chance);
  std::vector<std::pair<std::string, double>> slices;
  std::size_t widest = 12;
  for (const auto& [key, values] : result.test.slices)
    for (const auto& [value, accuracy] : values) {
      slices.emplace_back(fmt::format("{}={}", key, value), accuracy);
      widest = std::max(widest, slices.back().first.size());
    }
  for (const auto& [name, accuracy] : slices)
    fmt::print("    {:<{}}  {:.4f}\n", name, widest, accuracy);
  fmt::print("  state           {} bytes at length {}\n", result.state_bytes, result.state_length);
  fmt::print("  parameters      {}\n{}\n", result.num_parameters, printable(paths.result, 4096));
}

void check_one_run(const SweepArguments& arguments, const Recipe& recipe) {
  if (recipe.runs.size() == 1) return;
  const std::vector<std::string> models = model_names(recipe.runs);
  const std::string what = fmt::format("the recipe must come to one run, '{}' comes to {}",
                                       printable(arguments.recipe), recipe.runs.size());
  // The keys that runs of several models differ in are mostly no choice of their own.
  if (models.size() > 1)
    fail(ErrorKind::usage, "run",
         "{}, of {} models; choose one by --models NAME ({}), or use `recallbench sweep`", what,
         models.size(), fmt::join(models, ", "));
  fail(ErrorKind::usage, "run",
       "{}, which differ in {}; fix each by key=value, or use `recallbench sweep`", what,
       fmt::join(varying_names(recipe.runs), ", "));
}

}  // namespace

int sweep_command(const SweepArguments& arguments, const CommonOptions& common) {
  const Recipe recipe = load_wanted(arguments, common);
  const SweepRequest request = make_request(arguments, common, recipe);
  if (arguments.dry_run) return dry_run(request, common);
  const SweepOutcome outcome = execute(request, common);
  const int code = tell_outcome(request, outcome, common.quiet);
  const bool has_points = outcome.counts.done > outcome.counts.diverged;
  if (code != kInterrupted && has_points)
    print_report(arguments, common, request, outcome);
  else if (common.json)
    fmt::print("{}", outcome_json(request, outcome).indented());
  return code;
}

int run_command(const SweepArguments& arguments, const CommonOptions& common) {
  const Recipe recipe = load_wanted(arguments, common);
  check_one_run(arguments, recipe);
  SweepRequest request = make_request(arguments, common, recipe);
  if (arguments.dry_run) return dry_run(request, common);
  request.add = true;
  const SweepOutcome outcome = execute(request, common);
  const int code = tell_outcome(request, outcome, common.quiet);
  print_run(request, outcome, common);
  return code;
}

}  // namespace recallbench
