#include "analysis/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "analysis/characters.h"
#include "analysis/csv.h"
#include "kernels/base/error.h"

namespace recallbench {
namespace {

struct ToText {
  int decimals;
  std::string operator()(std::monostate) const { return ""; }
  std::string operator()(bool x) const { return x ? "yes" : "no"; }
  std::string operator()(std::int64_t x) const { return fmt::format("{}", x); }
  std::string operator()(double x) const {
    return std::isfinite(x) ? fmt::format("{:.{}f}", x, decimals) : "";
  }
  std::string operator()(const std::string& x) const { return plain_text(x); }
  template <class T>
  std::string operator()(const std::vector<T>& x) const {
    return plain_text(fmt::format("{}", fmt::join(x, " ")));
  }
};

struct ToCsv {
  std::string operator()(std::monostate) const { return ""; }
  std::string operator()(bool x) const { return x ? "yes" : "no"; }
  std::string operator()(std::int64_t x) const { return fmt::format("{}", x); }
  std::string operator()(double x) const { return csv_number(x); }
  std::string operator()(const std::string& x) const { return csv_text(x); }
  template <class T>
  std::string operator()(const std::vector<T>& x) const {
    return csv_text(fmt::format("{}", fmt::join(x, " ")));
  }
};

struct ToJson {
  Json operator()(std::monostate) const { return {}; }
  template <class T>
  Json operator()(const std::vector<T>& x) const {
    return Json::list(x);
  }
  template <class T>
  Json operator()(const T& x) const {
    return Json(x);
  }
};

void check_rows(const Table& table) {
  for (const std::vector<Cell>& row : table.rows)
    check(row.size() == table.columns.size(), "table", "{} columns, but a row of {} cells",
          table.columns.size(), row.size());
}

bool is_number(const Cell& cell) {
  return std::holds_alternative<std::int64_t>(cell) || std::holds_alternative<double>(cell);
}

}  // namespace

std::string to_text(const Table& table, int decimals) {
  check_rows(table);
  std::vector<std::vector<std::string>> lines = {table.columns};
  for (const std::vector<Cell>& row : table.rows) {
    lines.emplace_back();
    for (const Cell& cell : row)
      lines.back().push_back(std::visit(ToText{decimals}, cell));
  }
  std::vector<std::size_t> widths(table.columns.size(), 0);
  std::vector<bool> right(table.columns.size(), false);
  for (std::size_t c = 0; c < widths.size(); ++c) {
    for (const auto& line : lines)
      widths[c] = std::max(widths[c], text_width(line[c]));
    right[c] = std::any_of(table.rows.begin(), table.rows.end(),
                           [&](const std::vector<Cell>& row) { return is_number(row[c]); });
  }
  std::string text;
  for (const auto& line : lines) {
    std::string out;
    for (std::size_t c = 0; c < widths.size(); ++c) {
      const std::string fill(widths[c] - text_width(line[c]), ' ');
      out += (c == 0 ? "" : "  ") + (right[c] ? fill + line[c] : line[c] + fill);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    text += out + '\n';
  }
  return text;
}

std::string to_csv(const Table& table) {
  check_rows(table);
  std::vector<std::string> header;
  for (const std::string& name : table.columns)
    header.push_back(csv_text(name));
  std::string text = fmt::format("{}\n", fmt::join(header, ","));
  for (const std::vector<Cell>& row : table.rows) {
    std::vector<std::string> cells;
    for (const Cell& cell : row)
      cells.push_back(std::visit(ToCsv{}, cell));
    text += fmt::format("{}\n", fmt::join(cells, ","));
  }
  return text;
}

Json to_json(const Table& table) {
  check_rows(table);
  Json rows = Json::Array{};
  for (const std::vector<Cell>& row : table.rows) {
    Json object = Json::Object{};
    for (std::size_t c = 0; c < row.size(); ++c)
      object[table.columns[c]] = std::visit(ToJson{}, row[c]);
    rows.push_back(std::move(object));
  }
  return rows;
}

}  // namespace recallbench
