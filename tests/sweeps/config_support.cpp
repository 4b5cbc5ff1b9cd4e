#include "tests/sweeps/config_support.h"

#include <stdexcept>

#include "kernels/base/error.h"

namespace recallbench {

std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos || text.find(from, at + 1) != std::string::npos)
    throw std::logic_error("'" + from + "' does not occur exactly once");
  return text.replace(at, from.size(), to);
}

std::string message_of(const std::string& toml, const std::vector<std::string>& overrides,
                       std::int64_t max_runs) {
  try {
    parse_recipe(toml, "f.toml", overrides, max_runs);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    return error.what();
  }
  return "";
}

}  // namespace recallbench
