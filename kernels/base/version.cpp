#include "kernels/base/version.h"

#include "kernels/base/commit.h"
#include "kernels/base/hash.h"

namespace recallbench {
namespace {

std::string& plugins() {
  static std::string names;
  return names;
}

}  // namespace

std::string code_version() {
  const std::string commit = RECALLBENCH_COMMIT;
  const std::string program =
      commit.empty() ? RECALLBENCH_VERSION : RECALLBENCH_VERSION " (" + commit + ")";
  return program + plugins();
}

void add_to_code_version(std::string_view plugin, std::string_view contents) {
  plugins() += " + " + std::string(plugin) + " " + xxh3_128_hex(contents).substr(0, 7);
}

}  // namespace recallbench
