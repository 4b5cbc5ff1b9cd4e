#include "sweeps/store/summary_file.h"

#include <algorithm>
#include <tuple>

#include "kernels/base/hash.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/version.h"
#include "sweeps/store/labels.h"
#include "sweeps/store/record.h"

namespace recallbench {
namespace {

/// Equal for runs that differ in the seed alone: "s" and 16 hexadecimal digits.
std::string setting_of(RunConfig config) {
  config.seed = 0;
  return "s" + xxh3_128_hex(canonical_json(config)).substr(0, 16);
}

SummaryRow config_row(const RunConfig& config, const std::string& id, const std::string& model,
                      const std::string& task) {
  SummaryRow row;
  row.run_id = id;
  row.sweep = config.sweep;
  row.task = task;
  row.model_name = config.model_name;
  row.model = model;
  row.d_model = config.model.d_model;
  row.n_layers = config.model.n_layers;
  row.layers = layers_text(config.model);
  row.learning_rate = config.train.lr;
  row.weight_decay = config.train.weight_decay;
  row.setting = setting_of(config);
  row.seed = config.seed;
  row.vocab_size = config.model.vocab_size;
  row.precision = config.precision;
  row.numerics_version = std::to_string(kNumericsVersion);
  return row;
}

void add_slices(const std::string& split, const SplitMetrics& metrics, SummaryRow& row) {
  for (const auto& [key, values] : metrics.slices)
    for (const auto& [value, accuracy] : values)
      row.slices[slice_column(split, key, value)] = accuracy;
}

void add_result(const RunRecord& record, SummaryRow& row) {
  const RunResult& result = record.result;
  row.status = result.status;
  row.reason = result.reason;
  row.epochs = result.epochs;
  row.steps = result.steps;
  row.valid_accuracy = result.valid.accuracy;
  row.valid_loss = result.valid.loss;
  row.test_accuracy = result.test.accuracy;
  row.test_loss = result.test.loss;
  add_slices("valid", result.valid, row);
  add_slices("test", result.test, row);
  row.chance = result.chance;
  row.state_bytes = result.state_bytes;
  if (result.published_state_bytes) row.state_size = *result.published_state_bytes;
  row.state_length = result.state_length;
  row.num_parameters = result.num_parameters;
  row.device = record.device;
  row.code_version = record.code_version;
}

}  // namespace

std::vector<SummaryRow> collect_rows(const std::string& results, const Manifest& manifest) {
  const RunLabels labels = make_labels(manifest.runs);
  std::vector<SummaryRow> rows;
  for (std::size_t i = 0; i < manifest.runs.size(); ++i) {
    const std::string id = run_id(manifest.runs[i]);
    SummaryRow row = config_row(manifest.runs[i], id, labels.model[i], labels.task[i]);
    const StoredResult stored = read_result(results, id);
    if (stored.record) {
      add_result(*stored.record, row);
    } else if (!stored.problem.empty()) {
      row.status = kStatusFailed;
      row.reason = stored.problem;
    } else if (const auto failure = read_failure(results, id)) {
      row.status = kStatusFailed;
      row.reason = failure->reason;
    } else {
      continue;
    }
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const SummaryRow& a, const SummaryRow& b) {
    const auto key = [](const SummaryRow& row) {
      return std::tie(row.model_name, row.d_model, row.model, row.learning_rate, row.seed,
                      row.run_id);
    };
    return key(a) < key(b);
  });
  return rows;
}

bool write_summary_file(const std::string& results, const std::vector<SummaryRow>& rows) {
  const std::string path = summary_path(results);
  const std::string text = write_summary(rows);
  if (path_exists(path) && read_file(path, std::uint64_t{1} << 30) == text) return false;
  publish(path, text);
  return true;
}

}  // namespace recallbench
