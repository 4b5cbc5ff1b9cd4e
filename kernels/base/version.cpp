#include "kernels/base/version.h"

namespace recallbench {
std::string code_version() {
  return "0.1.0";
}
}  // namespace recallbench
