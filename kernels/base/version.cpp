#include "kernels/base/version.h"

#include "kernels/base/commit.h"

namespace recallbench {

std::string code_version() {
  const std::string commit = RECALLBENCH_COMMIT;
  return commit.empty() ? RECALLBENCH_VERSION : RECALLBENCH_VERSION " (" + commit + ")";
}

}  // namespace recallbench
