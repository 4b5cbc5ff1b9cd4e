#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace recallbench {

/// One training run: a row of summary.csv. results/README.md explains every field. Numbers that a
/// failed or diverged run does not have are NaN or none, and empty cells in the file.
struct SummaryRow {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  std::string run_id;        ///< "r" + 32 hexadecimal digits
  std::string sweep;         ///< the recipe's name
  std::string task;          ///< compact text of the data: "mqar(vocab_size=256,...)"
  std::string model_name;    ///< the family
  std::string model;         ///< label of the point: "based d_model=64 feature_dim=16"
  std::int64_t d_model = 0;  ///< width D
  std::int64_t n_layers = 0;
  std::string layers;  ///< "base_conv(kernel_size=3)+based(feature_dim=16)"
  double learning_rate = kNone;
  double weight_decay = kNone;
  std::string setting;  ///< equal for runs that differ in the seed alone
  std::uint64_t seed = 0;
  std::string status;  ///< done, diverged, failed, ...
  std::string reason;  ///< why it stopped
  std::optional<std::int64_t> epochs, steps;
  double valid_accuracy = kNone;  ///< in [0, 1]
  double valid_loss = kNone;      ///< nats
  double test_accuracy = kNone;
  double test_loss = kNone;
  /// Accuracies of slices by column name, as slice_column() makes it.
  std::map<std::string, double> slices;
  double chance = kNone;  ///< accuracy of a model without memory, on the test data
  std::optional<std::int64_t> state_bytes;  ///< measured at state_length
  double state_size = kNone;                ///< bytes by the reference's formula
  std::optional<std::int64_t> state_length;
  std::optional<std::int64_t> num_parameters;
  std::int64_t vocab_size = 0;
  std::string precision, device, code_version, numerics_version;
};

inline constexpr std::string_view kStatusDone = "done";
inline constexpr std::string_view kStatusDiverged = "diverged";
inline constexpr std::string_view kStatusFailed = "failed";

/// The names of summary.csv's fixed columns, in order; slice columns stand before "chance".
const std::vector<std::string>& summary_columns();

/// "valid/num_kv_pairs/accuracy-8" for split "valid", key "num_kv_pairs", value 8.
std::string slice_column(std::string_view split, std::string_view key, std::int64_t value);

/// Whether `column` has the form of slice_column().
bool is_slice_column(std::string_view column);

/// summary.csv as text: UTF-8, RFC 4180 with LF, rows as given, slice columns sorted by name with
/// their numbers in numerical order. The same rows give the same bytes.
std::string write_summary(const std::vector<SummaryRow>& rows);

/// Reads such a text strictly: all fixed columns in any order, slice columns, no other. `source`
/// names it in messages. Throws Error(io): `source:line: column ...`.
std::vector<SummaryRow> read_summary(std::string_view text, const std::string& source);

/// Reads the runs of `paths`: sweep folders (with summary.csv in them) or CSV files. A run that
/// several of them hold counts once; one that is done is preferred. Throws Error(io) if a file
/// cannot be read, holds no run, or two files disagree about a run that is done.
std::vector<SummaryRow> load_summaries(const std::vector<std::string>& paths);

}  // namespace recallbench
