#include "analysis/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "analysis/csv.h"
#include "kernels/base/error.h"
#include "kernels/base/names.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

/// A fixed column: how a row fills its cell, and how a cell fills a row (false: not of its type).
struct Column {
  const char* name;
  std::function<std::string(const SummaryRow&)> write;
  std::function<bool(std::string_view, SummaryRow&)> read;
  const char* expected;
};

Column text_column(const char* name, std::string SummaryRow::*field) {
  return {name, [field](const SummaryRow& row) { return csv_text(row.*field); },
          [field](std::string_view cell, SummaryRow& row) {
            row.*field = cell;
            return true;
          },
          "text"};
}

Column number_column(const char* name, double SummaryRow::*field, double min, double max,
                     const char* expected) {
  return {name, [field](const SummaryRow& row) { return csv_number(row.*field); },
          [=](std::string_view cell, SummaryRow& row) {
            const auto value = parse_number(cell);
            row.*field = value.value_or(SummaryRow::kNone);
            return cell.empty() || (value && *value >= min && *value <= max);
          },
          expected};
}

Column accuracy_column(const char* name, double SummaryRow::*field) {
  return number_column(name, field, 0, 1, "an accuracy from 0 to 1, or nothing");
}

Column loss_column(const char* name, double SummaryRow::*field) {
  return number_column(name, field, -1e300, 1e300, "a finite number, or nothing");
}

Column size_column(const char* name, double SummaryRow::*field) {
  return number_column(name, field, 0, 1e300, "a number from 0 on, or nothing");
}

Column count_column(const char* name, std::int64_t SummaryRow::*field) {
  return {name, [field](const SummaryRow& row) { return fmt::format("{}", row.*field); },
          [field](std::string_view cell, SummaryRow& row) {
            const auto value = parse_integer(cell);
            row.*field = value.value_or(0);
            return value && *value >= 0;
          },
          "an integer from 0 on"};
}

Column count_column(const char* name, std::optional<std::int64_t> SummaryRow::*field) {
  return {name,
          [field](const SummaryRow& row) {
            return row.*field ? fmt::format("{}", *(row.*field)) : std::string();
          },
          [field](std::string_view cell, SummaryRow& row) {
            row.*field = parse_integer(cell);
            return cell.empty() || (row.*field && *(row.*field) >= 0);
          },
          "an integer from 0 on, or nothing"};
}

Column seed_column(const char* name) {
  return {name, [](const SummaryRow& row) { return fmt::format("{}", row.seed); },
          [](std::string_view cell, SummaryRow& row) {
            const auto value = parse_unsigned(cell);
            row.seed = value.value_or(0);
            return value.has_value();
          },
          "an integer from 0 on"};
}

/// config_hash says again what run_id says; run_id is read before it.
Column hash_column(const char* name) {
  return {name, [](const SummaryRow& row) { return csv_text(row.run_id); },
          [](std::string_view cell, SummaryRow& row) { return cell == row.run_id; },
          "the same as run_id"};
}

/// In the order of the file; read_row goes by it too.
const std::vector<Column>& columns() {
  using Row = SummaryRow;
  static const std::vector<Column> all = {text_column("run_id", &Row::run_id),
                                          text_column("sweep", &Row::sweep),
                                          text_column("task", &Row::task),
                                          text_column("model.name", &Row::model_name),
                                          text_column("model", &Row::model),
                                          count_column("model.d_model", &Row::d_model),
                                          count_column("model.n_layers", &Row::n_layers),
                                          text_column("layers", &Row::layers),
                                          size_column("learning_rate", &Row::learning_rate),
                                          size_column("weight_decay", &Row::weight_decay),
                                          text_column("setting", &Row::setting),
                                          seed_column("seed"),
                                          text_column("status", &Row::status),
                                          text_column("reason", &Row::reason),
                                          count_column("epochs", &Row::epochs),
                                          count_column("steps", &Row::steps),
                                          accuracy_column("valid/accuracy", &Row::valid_accuracy),
                                          loss_column("valid/loss", &Row::valid_loss),
                                          accuracy_column("test/accuracy", &Row::test_accuracy),
                                          loss_column("test/loss", &Row::test_loss),
                                          accuracy_column("chance", &Row::chance),
                                          count_column("state_bytes", &Row::state_bytes),
                                          size_column("state_size", &Row::state_size),
                                          count_column("state_length", &Row::state_length),
                                          count_column("num_parameters", &Row::num_parameters),
                                          count_column("vocab_size", &Row::vocab_size),
                                          text_column("precision", &Row::precision),
                                          text_column("device", &Row::device),
                                          text_column("code_version", &Row::code_version),
                                          text_column("numerics_version", &Row::numerics_version),
                                          hash_column("config_hash")};
  return all;
}

/// Slice columns stand before this one.
constexpr std::string_view kAfterSlices = "chance";

/// The integer at the end of a slice column; none where it is no slice column.
std::optional<std::int64_t> slice_value(std::string_view column) {
  if (column.substr(0, 6) != "valid/" && column.substr(0, 5) != "test/") return std::nullopt;
  constexpr std::string_view kMiddle = "/accuracy-";
  const auto first = column.find('/');
  const auto middle = column.rfind(kMiddle);
  if (middle == std::string_view::npos || middle <= first + 1) return std::nullopt;
  return parse_integer(column.substr(middle + kMiddle.size()));
}

std::vector<std::string> slice_columns(const std::vector<SummaryRow>& rows) {
  std::set<std::string> names;
  for (const SummaryRow& row : rows)
    for (const auto& [name, accuracy] : row.slices) {
      check(is_slice_column(name), "summary", "'{}' is no slice column", name);
      names.insert(name);
    }
  std::vector<std::string> sorted(names.begin(), names.end());
  const auto split_and_key = [](const std::string& name) {
    return name.substr(0, name.rfind("/accuracy-"));
  };
  std::stable_sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) {
    const std::string a_key = split_and_key(a), b_key = split_and_key(b);
    return a_key != b_key ? a_key > b_key : *slice_value(a) < *slice_value(b);
  });
  return sorted;
}

/// For each cell of the header: the fixed column that it names, or kSlice.
constexpr std::size_t kSlice = static_cast<std::size_t>(-1);

std::vector<std::size_t> read_header(const CsvRecord& header, const std::string& source) {
  const std::vector<std::string>& known = summary_columns();
  if (std::find(header.cells.begin(), header.cells.end(), known[0]) == header.cells.end())
    fail(ErrorKind::io, "summary",
         "{}:{}: column '{}' is missing, so this is no summary.csv; give one as a sweep writes it",
         source, header.line, known[0]);
  std::set<std::string> seen;
  std::vector<std::size_t> places;
  for (const std::string& name : header.cells) {
    if (!seen.insert(name).second)
      fail(ErrorKind::io, "summary", "{}:{}: column '{}' stands there twice", source, header.line,
           printable(name, 80));
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end() && !is_slice_column(name))
      fail(ErrorKind::io, "summary",
           "{}:{}: column '{}' is unknown (slices are named like "
           "'test/num_kv_pairs/accuracy-8'){}",
           source, header.line, printable(name, 80), hint_for(name, known));
    places.push_back(found == known.end() ? kSlice
                                          : static_cast<std::size_t>(found - known.begin()));
  }
  for (const std::string& name : known)
    if (seen.count(name) == 0)
      fail(ErrorKind::io, "summary",
           "{}:{}: column '{}' is missing; give a summary.csv as a sweep writes it", source,
           header.line, name);
  return places;
}

SummaryRow read_row(const CsvRecord& header, const std::vector<std::size_t>& places,
                    const CsvRecord& record, const std::string& source) {
  SummaryRow row;
  const auto reject = [&](std::size_t i, std::string_view expected) {
    fail(ErrorKind::io, "summary", "{}:{}: column '{}' must be {}, not '{}'", source, record.line,
         printable(header.cells[i], 80), expected, printable(record.cells[i], 80));
  };
  std::vector<std::size_t> order(places.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return places[a] < places[b]; });
  for (const std::size_t i : order) {
    const std::string& cell = record.cells[i];
    if (places[i] != kSlice) {
      const Column& column = columns()[places[i]];
      if (!column.read(cell, row)) reject(i, column.expected);
    } else if (!cell.empty()) {
      const auto value = parse_number(cell);
      if (!value || !(*value >= 0 && *value <= 1)) reject(i, "an accuracy from 0 to 1, or nothing");
      row.slices[header.cells[i]] = *value;
    }
  }
  if (row.run_id.empty())
    fail(ErrorKind::io, "summary", "{}:{}: column 'run_id' must not be empty", source, record.line);
  return row;
}

}  // namespace

const std::vector<std::string>& summary_columns() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Column& column : columns())
      all.emplace_back(column.name);
    return all;
  }();
  return names;
}

std::string slice_column(std::string_view split, std::string_view key, std::int64_t value) {
  return fmt::format("{}/{}/accuracy-{}", split, key, value);
}

bool is_slice_column(std::string_view column) {
  return slice_value(column).has_value();
}

std::string write_summary(const std::vector<SummaryRow>& rows) {
  const std::vector<std::string> slices = slice_columns(rows);
  const auto line = [&](const auto& fixed, const auto& sliced) {
    std::string text;
    for (const Column& column : columns()) {
      if (column.name == kAfterSlices)
        for (const std::string& name : slices)
          text += sliced(name) + ',';
      text += fixed(column) + ',';
    }
    text.back() = '\n';
    return text;
  };
  std::string text = line([](const Column& column) { return csv_text(column.name); },
                          [](const std::string& name) { return csv_text(name); });
  for (const SummaryRow& row : rows)
    text += line([&](const Column& column) { return column.write(row); },
                 [&](const std::string& name) {
                   const auto found = row.slices.find(name);
                   return found == row.slices.end() ? std::string() : csv_number(found->second);
                 });
  return text;
}

std::vector<SummaryRow> read_summary(std::string_view text, const std::string& source) {
  const std::vector<CsvRecord> records = parse_csv(text, source);
  if (records.empty())
    fail(ErrorKind::io, "summary", "{}:1: a header was expected, the file is empty", source);
  const std::vector<std::size_t> places = read_header(records[0], source);
  std::vector<SummaryRow> rows;
  for (std::size_t i = 1; i < records.size(); ++i)
    rows.push_back(read_row(records[0], places, records[i], source));
  return rows;
}

}  // namespace recallbench
