#include "kernels/base/io/temporary_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "kernels/base/error.h"

namespace recallbench {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  try {
    path_ = (fs::temp_directory_path() / "recallbench-XXXXXX").string();
  } catch (const fs::filesystem_error& error) {
    fail(ErrorKind::io, "temporary folder", "{}; set TMPDIR to a folder with room", error.what());
  }
  if (::mkdtemp(path_.data()) == nullptr)
    fail(ErrorKind::io, "temporary folder", "cannot make '{}': {}; set TMPDIR to one with room",
         path_, std::strerror(errno));
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace recallbench
