#pragma once

#include <string>

namespace recallbench {

/// A fresh folder under the system's temporary folder (TMPDIR), removed with all that is in it when
/// the object goes. Throws Error(io) where none can be made.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace recallbench
