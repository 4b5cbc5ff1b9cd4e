#include "kernels/base/error.h"

#include <string_view>

namespace recallbench {

void fail_internal(const Who& who, const std::string& text) {
  std::string_view file = who.where.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos)
    file.remove_prefix(slash + 1);
  throw Error(ErrorKind::internal,
              fmt::format("[{}] {} ({}:{})", who.name, text, file, who.where.line()));
}

}  // namespace recallbench
