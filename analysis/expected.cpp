#include "analysis/expected.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "analysis/csv.h"
#include "kernels/base/error.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 24;
constexpr std::array kColumns = {"model.name", "model.d_model", "state_length", "state_size",
                                 "accuracy",   "tolerance",     "source"};

ExpectedPoint read_row(const CsvRecord& record, const std::string& source) {
  const auto wrong = [&](std::size_t column, const char* wanted) {
    fail(ErrorKind::io, "expected", "{}:{}: column {} must be {}, it is {}", source, record.line,
         kColumns[column], wanted, in_quotes(record.cells[column]));
  };
  const auto share = [&](std::size_t column) {
    const std::optional<double> number = parse_number(record.cells[column]);
    if (!number || !(*number >= 0 && *number <= 1)) wrong(column, "a number from 0 to 1");
    return *number;
  };
  ExpectedPoint point;
  point.family = record.cells[0];
  if (point.family.empty()) wrong(0, "the name of a family");
  point.d_model = parse_integer(record.cells[1]);
  if (!record.cells[1].empty() && !(point.d_model && *point.d_model > 0))
    wrong(1, "a width, or empty");
  const std::optional<std::int64_t> length = parse_integer(record.cells[2]);
  if (!length || *length <= 0) wrong(2, "a number of tokens");
  point.state_length = *length;
  const std::optional<double> state = parse_number(record.cells[3]);
  if (!state || !(*state >= 0)) wrong(3, "a number of bytes");
  point.state_size = *state;
  point.accuracy = share(4);
  point.tolerance = share(5);
  point.source = record.cells[6];
  if (point.source.empty()) wrong(6, "where the accuracy comes from");
  return point;
}

bool is_same_place(const ExpectedPoint& a, const ExpectedPoint& b) {
  return a.family == b.family && a.d_model == b.d_model && a.state_length == b.state_length &&
         a.state_size == b.state_size;
}

bool stands_at(const ModelPoint& point, const ExpectedPoint& expected) {
  return point.family == expected.family && point.has_result &&
         (!expected.d_model || point.d_model == *expected.d_model) &&
         point.state_length == expected.state_length &&
         point.published_bytes == expected.state_size && std::isfinite(point.result.mean);
}

const char* word(Verdict verdict) {
  constexpr std::array kWords = {"missing", "below", "holds", "above"};
  return kWords[static_cast<std::size_t>(verdict)];
}

}  // namespace

std::vector<ExpectedPoint> read_expected(std::string_view text, const std::string& source) {
  const std::vector<CsvRecord> records = parse_csv(text, source);
  if (records.empty() || !std::equal(records[0].cells.begin(), records[0].cells.end(),
                                     kColumns.begin(), kColumns.end()))
    fail(ErrorKind::io, "expected", "{}:1: the header must be {}", source,
         fmt::format("{}", fmt::join(kColumns, ",")));
  std::vector<ExpectedPoint> points;
  for (std::size_t i = 1; i < records.size(); ++i) {
    const ExpectedPoint point = read_row(records[i], source);
    for (const ExpectedPoint& earlier : points)
      if (is_same_place(earlier, point))
        fail(ErrorKind::io, "expected", "{}:{}: {} with {} bytes has a row already; keep one",
             source, records[i].line, in_quotes(point.family), point.state_size);
    points.push_back(point);
  }
  return points;
}

std::vector<ExpectedPoint> load_expected(const std::string& path) {
  return read_expected(read_file(path, kMostBytes), printable(path));
}

std::vector<JudgedPoint> judge(const std::vector<ModelPoint>& points,
                               const std::vector<ExpectedPoint>& expected) {
  std::vector<JudgedPoint> judged;
  for (const ExpectedPoint& wanted : expected) {
    const ModelPoint* best = nullptr;
    for (const ModelPoint& point : points)
      if (stands_at(point, wanted) && (best == nullptr || point.result.mean > best->result.mean))
        best = &point;
    if (best == nullptr) {
      judged.push_back({wanted, wanted.family, SummaryRow::kNone, Verdict::missing});
      continue;
    }
    const double difference = best->result.mean - wanted.accuracy;
    const Verdict verdict = !(difference >= -wanted.tolerance) ? Verdict::below
                            : difference > wanted.tolerance    ? Verdict::above
                                                               : Verdict::holds;
    judged.push_back({wanted, best->model, best->result.mean, verdict});
  }
  return judged;
}

Table judgement_table(const std::string& sweep, const std::vector<JudgedPoint>& points) {
  Table table{{"sweep", "model", "d_model", "state_size", "measured", "expected", "tolerance",
               "verdict", "source"},
              {}};
  for (const JudgedPoint& p : points) {
    const Cell width = p.expected.d_model ? Cell(*p.expected.d_model) : Cell();
    const Cell measured = p.verdict == Verdict::missing ? Cell() : Cell(p.measured);
    table.rows.push_back({sweep, p.model, width, static_cast<std::int64_t>(p.expected.state_size),
                          measured, p.expected.accuracy, p.expected.tolerance,
                          std::string(word(p.verdict)), p.expected.source});
  }
  return table;
}

}  // namespace recallbench
