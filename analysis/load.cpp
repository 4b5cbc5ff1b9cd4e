#include <filesystem>
#include <map>
#include <utility>

#include "analysis/csv.h"
#include "analysis/summary.h"
#include "kernels/base/error.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr std::int64_t kMostSummaryBytes = std::int64_t{1} << 28;

/// The file that a result path means.
std::string summary_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  const std::string shown = printable(path);
  if (!fs::exists(status))
    fail(ErrorKind::io, "results",
         "'{}' does not exist; give a sweep's folder (results/<sweep>) or a summary.csv", shown);
  if (!fs::is_directory(status)) return path;
  const std::string file = (fs::path(path) / "summary.csv").string();
  if (!fs::exists(file, error))
    fail(ErrorKind::io, "results",
         "folder '{}' holds no summary.csv; give a sweep's folder, or run the sweep first "
         "(recallbench sweep RECIPE)",
         shown);
  return file;
}

bool same_results(const SummaryRow& a, const SummaryRow& b) {
  return csv_number(a.valid_accuracy) == csv_number(b.valid_accuracy) &&
         csv_number(a.test_accuracy) == csv_number(b.test_accuracy) &&
         csv_number(a.valid_loss) == csv_number(b.valid_loss) && a.slices == b.slices &&
         a.state_bytes == b.state_bytes;
}

}  // namespace

std::vector<SummaryRow> load_summaries(const std::vector<std::string>& paths) {
  std::vector<SummaryRow> rows;
  std::map<std::string, std::pair<std::size_t, std::string>> places;
  for (const std::string& path : paths) {
    const std::string file = summary_file(path);
    const std::vector<SummaryRow> found =
        read_summary(read_file(file, kMostSummaryBytes), printable(file));
    if (found.empty())
      fail(ErrorKind::io, "results", "{} holds no run; let the sweep finish one first",
           printable(file));
    for (const SummaryRow& row : found) {
      const auto [place, is_new] = places.try_emplace(row.run_id, rows.size(), file);
      if (is_new) {
        rows.push_back(row);
        continue;
      }
      SummaryRow& earlier = rows[place->second.first];
      if (earlier.status != kStatusDone) {
        earlier = row;
        place->second.second = file;
      } else if (row.status == kStatusDone && !same_results(row, earlier)) {
        fail(ErrorKind::io, "results",
             "run {} has other results in {} (device {}) than in {} (device {}); give only one "
             "of the two",
             printable(row.run_id, 40), printable(file), printable(row.device, 40),
             printable(place->second.second), printable(earlier.device, 40));
      }
    }
  }
  return rows;
}

}  // namespace recallbench
