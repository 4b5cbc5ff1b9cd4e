#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"

namespace recallbench {

/// The three entries of an .npy header.
struct NpyHeader {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// Reads the header text: a Python dict literal with exactly these keys, in any order, spaces, and
/// a newline as the last byte. Throws Error(kind) about `source`.
NpyHeader parse_npy_header(std::string_view text, const std::string& source, ErrorKind kind);

}  // namespace recallbench
