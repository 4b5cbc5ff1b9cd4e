#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "kernels/base/io/json.h"

namespace recallbench {

/// A cell: nothing, yes or no, an integer, a number, a text, or a list of either.
using Cell = std::variant<std::monostate, bool, std::int64_t, double, std::string,
                          std::vector<std::string>, std::vector<std::uint64_t>>;

/// Named columns and rows of as many cells.
struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};

/// Columns set under each other for a terminal: numbers with `decimals` decimals and to the right,
/// texts to the left, control characters out. Ends with a line end.
std::string to_text(const Table& table, int decimals = 4);

/// RFC 4180 with a header: numbers in shortest form, lists joined by spaces, what is not finite
/// empty.
std::string to_csv(const Table& table);

/// A JSON array with one object a row; what is not finite is null.
Json to_json(const Table& table);

}  // namespace recallbench
