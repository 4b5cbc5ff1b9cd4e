#include "analysis/published.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "analysis/csv.h"
#include "kernels/base/error.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr const char* kDefaultName = "recall-memory-tradeoff.csv";
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 24;

/// Letters and digits alone, in lower case.
std::string bare_name(std::string_view name) {
  std::string bare;
  for (const char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || (c & 0x80) != 0)
      bare += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return bare;
}

std::size_t column_of(const CsvRecord& header, const char* name, const std::string& source) {
  const auto found = std::find(header.cells.begin(), header.cells.end(), name);
  if (found == header.cells.end())
    fail(ErrorKind::io, "published",
         "{}:{}: column '{}' is missing; published points have the columns series, "
         "state_size_bytes and accuracy",
         source, header.line, name);
  return static_cast<std::size_t>(found - header.cells.begin());
}

}  // namespace

std::vector<PublishedPoint> read_published(std::string_view text, const std::string& source) {
  const std::vector<CsvRecord> records = parse_csv(text, source);
  if (records.size() < 2)
    fail(ErrorKind::io, "published", "{}:1: a header and published points were expected", source);
  const std::size_t series = column_of(records[0], "series", source);
  const std::size_t state = column_of(records[0], "state_size_bytes", source);
  const std::size_t accuracy = column_of(records[0], "accuracy", source);
  std::vector<PublishedPoint> points;
  for (std::size_t i = 1; i < records.size(); ++i) {
    const CsvRecord& record = records[i];
    const auto bytes = parse_number(record.cells[state]);
    const auto share = parse_number(record.cells[accuracy]);
    if (!bytes || !(*bytes >= 0) || !share || !(*share >= 0 && *share <= 1))
      fail(ErrorKind::io, "published",
           "{}:{}: a state in bytes and an accuracy from 0 to 1 were expected, not {} and {}",
           source, record.line, in_quotes(record.cells[state]), in_quotes(record.cells[accuracy]));
    points.push_back({record.cells[series], *bytes, *share});
  }
  return points;
}

std::vector<PublishedPoint> load_published(const std::string& path) {
  return read_published(read_file(path, kMostBytes), printable(path));
}

std::string default_published_file() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path places[] = {program.parent_path().parent_path() / RECALLBENCH_PUBLISHED_INSTALLED,
                             fs::path(RECALLBENCH_PUBLISHED_SOURCE)};
  for (const fs::path& place : places)
    if (fs::exists(place / kDefaultName, error)) return (place / kDefaultName).string();
  fail(ErrorKind::io, "published", "{} is neither in {} nor in {}; name a file: --published FILE",
       kDefaultName, places[0].string(), places[1].string());
}

std::optional<std::size_t> family_of(std::string_view series,
                                     const std::vector<std::string>& families) {
  std::optional<std::size_t> found;
  for (const std::string_view name : split(series, '/')) {
    const std::string part = bare_name(name);
    for (std::size_t i = 0; i < families.size() && !part.empty(); ++i)
      if (bare_name(families[i]) == part) found = i;
  }
  return found;
}

}  // namespace recallbench
