#pragma once

#include <set>
#include <string>

#include "kernels/base/error.h"

namespace recallbench {

/// What the values of one parsed text share, for their messages.
struct JsonDocument {
  std::string source;
  ErrorKind kind;
  std::set<std::string, std::less<>> keys;
};

}  // namespace recallbench
