#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/base/error.h"

namespace recallbench {

/// Owns an open file descriptor. Closing by the destructor loses errors; `close` reports them.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor() { close(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  /// 0 or the errno. The descriptor is gone either way.
  int close() noexcept;

 private:
  int fd_;
};

/// Throws Error(kind): `[file] cannot OPERATION 'path': reason; remedy`, the last two from `error`,
/// an errno.
[[noreturn]] void fail_system(ErrorKind kind, std::string_view operation, const std::string& path,
                              int error);

/// openat(2) with O_CLOEXEC, again after EINTR; not open on failure, with errno set.
FileDescriptor open_at(int folder, const std::string& name, int flags, unsigned mode = 0);

/// Opens a folder to create files in; throws Error(io).
FileDescriptor open_folder(const std::string& path);

/// Throws Error(kind) unless `file` is a regular file.
void require_regular_file(const FileDescriptor& file, const std::string& path, ErrorKind kind);

/// Writes all bytes, across EINTR and short writes; 0 or the errno.
int write_all(int fd, std::string_view bytes) noexcept;

/// Reads up to `size` bytes, across EINTR; the count (0 at the end) or -1 with errno set.
std::int64_t read_some(int fd, char* buffer, std::size_t size) noexcept;

/// fsync(2), again after EINTR; 0 or the errno.
int sync_descriptor(int fd) noexcept;

/// Makes entries of a folder last through a power loss; throws Error(io). File systems that know
/// no such thing (EINVAL) are passed over.
void sync_folder(const FileDescriptor& folder, const std::string& path);

/// The folder ("." or "/" if need be) and the last component of a path.
struct SplitPath {
  std::string folder, name;
};
SplitPath split_path(const std::string& path);

}  // namespace recallbench
