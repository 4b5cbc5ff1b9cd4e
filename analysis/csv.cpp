#include "analysis/csv.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

/// A first character that spreadsheets act upon, or the apostrophe that keeps them from it.
bool starts_a_formula(char c) {
  return std::string_view("=+-@'\t\r").find(c) != std::string_view::npos;
}

class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& source) : text_(text), source_(source) {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") at_ = 3;
    if (const auto nul = text_.find('\0'); nul != std::string_view::npos) {
      for (std::size_t i = 0; i < nul; ++i)
        line_ += text_[i] == '\n' ? 1 : 0;
      reject("a NUL byte cannot be part of CSV; this is another kind of file or a damaged one");
    }
  }

  std::vector<CsvRecord> read() {
    std::vector<CsvRecord> records;
    while (at_ < text_.size()) {
      CsvRecord record = read_record();
      if (record.cells.size() == 1 && record.cells[0].empty()) continue;
      if (!records.empty() && record.cells.size() != records[0].cells.size()) {
        line_ = record.line;
        reject(
            fmt::format("expected {} cells as in the header, found {}; the line is torn or was "
                        "edited by hand",
                        records[0].cells.size(), record.cells.size()));
      }
      records.push_back(std::move(record));
    }
    return records;
  }

 private:
  [[noreturn]] void reject(const std::string& why) const {
    fail(ErrorKind::io, "csv", "{}:{}: {}", source_, line_, why);
  }

  CsvRecord read_record() {
    CsvRecord record{line_, {}};
    for (;;) {
      std::string cell = at_ < text_.size() && text_[at_] == '"' ? read_quoted() : read_bare();
      if (cell.size() > 1 && cell[0] == '\'' && starts_a_formula(cell[1])) cell.erase(0, 1);
      record.cells.push_back(std::move(cell));
      if (at_ >= text_.size()) return record;
      const char end = text_[at_++];
      if (end == ',') continue;
      if (end == '\r' && at_ < text_.size() && text_[at_] == '\n') ++at_;
      ++line_;
      return record;
    }
  }

  std::string read_bare() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '\r') {
      if (text_[at_] == '"')
        reject("a quote stands inside an unquoted cell; quote the cell and double the quote");
      ++at_;
    }
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::string read_quoted() {
    std::string cell;
    const std::int64_t opened = line_;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        cell += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        cell += text_[++at_];
      } else {
        ++at_;
        if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '\r')
          reject("a comma or the line's end was expected after a closing quote");
        return cell;
      }
    }
    line_ = opened;
    reject("the quote that opens here is never closed; the file is torn");
  }

  std::string_view text_;
  const std::string& source_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
};

template <class Number>
std::optional<Number> parse_whole(std::string_view cell) {
  Number value{};
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size()) return std::nullopt;
  return value;
}

}  // namespace

std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& source) {
  return CsvReader(text, source).read();
}

std::string csv_text(std::string_view text) {
  std::string cell;
  const bool runs = !text.empty() && starts_a_formula(text[0]);
  bool quote = runs || (!text.empty() && (text.front() == ' ' || text.back() == ' '));
  if (runs) cell += '\'';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == ',' || c == '"' || c == '\n' || c == '\r') quote = true;
    if (c == '"') cell += '"';
    const bool allowed = byte >= 0x20 ? byte != 0x7F : c == '\n' || c == '\r' || c == '\t';
    cell += allowed ? c : '?';
  }
  return quote ? '"' + cell + '"' : cell;
}

std::string csv_number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "";
}

std::optional<double> parse_number(std::string_view cell) {
  const auto value = parse_whole<double>(cell);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::optional<std::int64_t> parse_integer(std::string_view cell) {
  return parse_whole<std::int64_t>(cell);
}

std::optional<std::uint64_t> parse_unsigned(std::string_view cell) {
  return parse_whole<std::uint64_t>(cell);
}

}  // namespace recallbench
