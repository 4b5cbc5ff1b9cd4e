#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace recallbench {

/// One record of a CSV file and the line on which it begins (from 1).
struct CsvRecord {
  std::int64_t line = 0;
  std::vector<std::string> cells;
};

/// Reads CSV as RFC 4180 has it: comma, double quotes, CRLF or LF, an optional byte order mark;
/// the first record is the header. Undoes the apostrophe of `csv_text`. `source` names the text in
/// messages. Throws Error(io) with `source:line` on a NUL byte, a quote that is left open or
/// stands in the middle of a cell, and a record whose cells the header does not match.
std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& source);

/// A text cell: quoted where commas, quotes or line ends ask for it. A cell that begins with one of
/// = + - @ ', tab or carriage return is written as `"'..."`, so that no spreadsheet runs it; other
/// control characters than tab and line end become '?'.
std::string csv_text(std::string_view text);

/// A number cell, shortest form that reads back as the same bits, '.' in every locale; empty where
/// it is not finite.
std::string csv_number(double value);

/// The whole cell as a finite number or an integer, whatever the locale; none where it is neither.
std::optional<double> parse_number(std::string_view cell);
std::optional<std::int64_t> parse_integer(std::string_view cell);
std::optional<std::uint64_t> parse_unsigned(std::string_view cell);

}  // namespace recallbench
