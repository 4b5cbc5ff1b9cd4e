#include "analysis/selection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "analysis/csv.h"
#include "kernels/base/error.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

/// Runs that differ in nothing but the seed.
struct Setting {
  std::map<std::uint64_t, const SummaryRow*> by_seed;  ///< all, whatever their status
  std::vector<const SummaryRow*> done;                 ///< by seed
  Statistics valid;
  double valid_loss = std::numeric_limits<double>::infinity();
  bool complete = false;

  const SummaryRow& any() const { return *by_seed.begin()->second; }
};

struct Group {
  std::vector<Setting> settings;
  std::map<std::string, std::size_t> places;  ///< setting's key → index
  std::set<std::uint64_t> seeds;
};

std::string point_key(const SummaryRow& row) {
  std::string key;
  for (const std::string& part : {row.task, row.model_name, row.model, row.layers, row.precision})
    key += csv_text(part) + ',';
  return key + fmt::format("{},{},{}", row.d_model, row.n_layers, row.vocab_size);
}

std::string setting_key(const SummaryRow& row) {
  return fmt::format("{},{},{}", row.setting, row.learning_rate, row.weight_decay);
}

bool is_usable(const SummaryRow& row) {
  return row.status == kStatusDone && std::isfinite(row.valid_accuracy);
}

double result_of(const SummaryRow& row, const std::string& column) {
  if (column == "test") return row.test_accuracy;
  if (column == "valid") return row.valid_accuracy;
  const auto found = row.slices.find(column);
  return found == row.slices.end() ? SummaryRow::kNone : found->second;
}

void add_run(Group& group, const SummaryRow& row) {
  const auto [place, is_new] = group.places.try_emplace(setting_key(row), group.settings.size());
  if (is_new) group.settings.emplace_back();
  group.seeds.insert(row.seed);
  const auto [other, is_first] = group.settings[place->second].by_seed.try_emplace(row.seed, &row);
  if (!is_first)
    fail(ErrorKind::io, "selection",
         "runs {} and {} of model '{}' have one setting and one seed ({}); column 'setting' must "
         "differ between runs that differ in more than the seed",
         printable(other->second->run_id, 40), printable(row.run_id, 40), printable(row.model, 80),
         row.seed);
}

void summarize(Setting& setting, std::size_t seeds_of_point) {
  std::vector<double> accuracies, losses;
  for (const auto& [seed, row] : setting.by_seed) {
    if (!is_usable(*row)) continue;
    setting.done.push_back(row);
    accuracies.push_back(row->valid_accuracy);
    losses.push_back(row->valid_loss);
  }
  setting.valid = statistics_of(accuracies);
  const Statistics loss = statistics_of(losses);
  if (loss.n > 0) setting.valid_loss = loss.mean;
  setting.complete = setting.done.size() == seeds_of_point;
}

/// Whether `a` is chosen before `b`; both have a finished run.
bool is_better(const Setting& a, const Setting& b) {
  const auto order = [](const Setting& s) {
    const SummaryRow& row = s.any();
    return std::make_tuple(s.complete ? 0 : -static_cast<std::int64_t>(s.done.size()) + 1'000'000,
                           -s.valid.mean, s.valid_loss, row.learning_rate, row.weight_decay);
  };
  return order(a) < order(b);
}

/// What the runs of a point say about the model itself, which must be one and the same.
void take_model(ModelPoint& point, const SummaryRow& row) {
  if (!row.state_bytes) return;
  if (point.state_bytes && *point.state_bytes != *row.state_bytes)
    fail(ErrorKind::io, "selection",
         "runs of model '{}' carry {} and {} bytes of state (run {}): they are not one model; give "
         "them different names",
         printable(row.model, 80), *point.state_bytes, *row.state_bytes, printable(row.run_id, 40));
  point.state_bytes = row.state_bytes;
  point.published_bytes = row.state_size;
  point.state_length = row.state_length;
  point.chance = row.chance;
}

Choice choice_of(const std::vector<Setting>& settings) {
  std::set<std::string> rates, decays, pairs;
  for (const Setting& setting : settings) {
    const std::string rate = fmt::format("{}", setting.any().learning_rate);
    const std::string decay = fmt::format("{}", setting.any().weight_decay);
    rates.insert(rate);
    decays.insert(decay);
    pairs.insert(rate + ' ' + decay);
  }
  return {rates.size() > 1, decays.size() > 1, settings.size() > pairs.size()};
}

ModelPoint choose(Group& group, const std::string& column) {
  ModelPoint point;
  const SummaryRow& first = group.settings.front().any();
  point.task = first.task;
  point.family = first.model_name;
  point.model = first.model;
  point.d_model = first.d_model;
  point.precision = first.precision;
  point.choice = choice_of(group.settings);
  const Setting* best = nullptr;
  for (Setting& setting : group.settings) {
    for (const auto& [seed, row] : setting.by_seed) {
      ++point.runs;
      if (row->status == kStatusDiverged)
        ++point.diverged;
      else if (row->status != kStatusDone)
        ++point.failed;
      take_model(point, *row);
    }
    summarize(setting, group.seeds.size());
    if (setting.valid.n > 0 && (best == nullptr || is_better(setting, *best))) best = &setting;
  }
  if (best == nullptr) return point;

  point.has_result = true;
  point.learning_rate = best->any().learning_rate;
  point.weight_decay = best->any().weight_decay;
  point.valid = best->valid;
  point.incomplete = !best->complete;
  std::vector<double> results;
  for (const SummaryRow* row : best->done) {
    results.push_back(result_of(*row, column));
    point.seeds.push_back(row->seed);
    point.run_ids.push_back(row->run_id);
  }
  point.result = statistics_of(results);
  return point;
}

}  // namespace

double ModelPoint::measured_bytes() const {
  return state_bytes ? static_cast<double>(*state_bytes) : SummaryRow::kNone;
}

std::string choice_text(const Choice& choice) {
  std::vector<std::string> names;
  if (choice.learning_rate) names.emplace_back("learning rate");
  if (choice.weight_decay) names.emplace_back("weight decay");
  if (choice.other) names.emplace_back(names.empty() ? "settings" : "other settings");
  return fmt::format("{}", fmt::join(names, names.size() == 2 ? " and " : ", "));
}

bool is_result_column(const std::string& column) {
  return column == "test" || column == "valid" || is_slice_column(column);
}

std::vector<ModelPoint> select_points(const std::vector<SummaryRow>& rows,
                                      const std::string& column) {
  check(is_result_column(column), "selection", "'{}' is no column of results", column);
  std::vector<Group> groups;
  std::map<std::string, std::size_t> places;
  for (const SummaryRow& row : rows) {
    const auto [place, is_new] = places.try_emplace(point_key(row), groups.size());
    if (is_new) groups.emplace_back();
    add_run(groups[place->second], row);
  }
  std::vector<ModelPoint> points;
  for (Group& group : groups)
    points.push_back(choose(group, column));
  return points;
}

}  // namespace recallbench
