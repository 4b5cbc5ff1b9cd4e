#pragma once

#include <optional>
#include <string>

#include "kernels/base/io/posix.h"

namespace recallbench {

/// An exclusive lock between processes on a file of its own, held while the object lives and freed
/// by the kernel when its holder dies (Linux open file description lock). The file stays, empty:
/// removing it would let two processes hold "the" lock.
///
/// A forked child shares the lock: it is free when all that share it have destroyed it, died, or
/// called exec.
class FileLock {
 public:
  /// None if another holds it, in another process or in this one. Creates the file where it is
  /// missing. Throws Error(io), also where the file system has no locks.
  static std::optional<FileLock> try_lock(const std::string& path);

 private:
  explicit FileLock(FileDescriptor file) : file_(std::move(file)) {}
  FileDescriptor file_;
};

}  // namespace recallbench
