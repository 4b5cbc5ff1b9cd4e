#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/base/io/temporary_folder.h"

namespace recallbench {

/// Names of a folder's entries, sorted.
inline std::vector<std::string> names_in(const TemporaryFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace recallbench
