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

/// Whether a well-formed character may stand in a line of text, in a figure too: no control, none
/// that ends a line or turns the direction of what follows, none that XML 1.0 forbids.
bool is_plain(std::string_view character) {
  if (begins_with_control(character)) return false;
  if (character.size() != 3) return true;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  const bool turns = byte(0) == 0xE2 && ((byte(1) == 0x80 && byte(2) >= 0xA8 && byte(2) <= 0xAE) ||
                                         (byte(1) == 0x81 && byte(2) >= 0xA6 && byte(2) <= 0xA9));
  const bool forbidden = byte(0) == 0xEF && byte(1) == 0xBF && byte(2) >= 0xBE;
  return !turns && !forbidden;
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

std::string plain_text(std::string_view text, std::size_t limit) {
  std::vector<std::string_view> characters;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text.substr(at));
    const std::string_view character = text.substr(at, length == 0 ? 1 : length);
    at += character.size();
    characters.push_back(length == 0 ? "?" : is_plain(character) ? character : " ");
  }
  const bool cut = limit != 0 && characters.size() > limit;
  if (cut) characters.resize(limit - 1);
  std::string result;
  for (const std::string_view character : characters)
    result += character;
  return cut ? result + "\u2026" : result;
}

std::size_t text_width(std::string_view text) {
  std::size_t width = 0;
  for (const char c : text)
    width += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return width;
}

}  // namespace recallbench
