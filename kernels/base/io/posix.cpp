#include "kernels/base/io/posix.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "kernels/base/text.h"

namespace recallbench {
namespace {

/// Linux moves at most 2^31 - 4096 bytes a call.
constexpr std::size_t kLargestTransfer = std::size_t{1} << 30;

const char* remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "free some space, then run the same command again";
    case EFBIG:
      return "raise the file size limit (ulimit -f)";
    case EACCES:
    case EPERM:
      return "check the permissions, or choose another folder";
    case EROFS:
      return "the file system is mounted read-only; choose another folder";
    case ENOENT:
    case ENOTDIR:
      return "check the path";
    case EISDIR:
      return "a folder has this name; remove it or choose another name";
    case EEXIST:
      return "something else has this name; remove it or choose another name";
    case ELOOP:
      return "a symbolic link stands there; remove it or choose another name";
    case ENAMETOOLONG:
      return "choose a shorter name";
    case EMFILE:
    case ENFILE:
      return "too many files are open; raise the limit (ulimit -n)";
    case ENOLCK:
    case ENOTSUP:
      return "this file system cannot lock files; choose a folder on another one";
    case EIO:
      return "the storage failed; check it (dmesg), then run the same command again";
    default:
      return "check the file system, then run the same command again";
  }
}

}  // namespace

int FileDescriptor::close() noexcept {
  const int fd = std::exchange(fd_, -1);
  // Linux releases the descriptor even when EINTR is reported, so that is no failure.
  if (fd < 0 || ::close(fd) == 0 || errno == EINTR) return 0;
  return errno;
}

void fail_system(ErrorKind kind, std::string_view operation, const std::string& path, int error) {
  fail(kind, "file", "cannot {} {}: {}; {}", operation, in_quotes(path),
       std::generic_category().message(error), remedy(error));
}

FileDescriptor open_at(int folder, const std::string& name, int flags, unsigned mode) {
  int fd = -1;
  do {
    fd = ::openat(folder, name.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return FileDescriptor(fd);
}

FileDescriptor open_folder(const std::string& path) {
  FileDescriptor folder = open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
  if (!folder.is_open()) fail_system(ErrorKind::io, "open the folder", path, errno);
  return folder;
}

void require_regular_file(const FileDescriptor& file, const std::string& path, ErrorKind kind) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_system(kind, "examine", path, errno);
  if (S_ISDIR(status.st_mode))
    fail(kind, "file", "{} is a folder; give the path of a file", in_quotes(path));
  if (!S_ISREG(status.st_mode))
    fail(kind, "file", "{} is not a regular file; give the path of one", in_quotes(path));
}

int write_all(int fd, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), std::min(bytes.size(), kLargestTransfer));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    if (written == 0) return EIO;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

std::int64_t read_some(int fd, char* buffer, std::size_t size) noexcept {
  ssize_t count = 0;
  do {
    count = ::read(fd, buffer, std::min(size, kLargestTransfer));
  } while (count < 0 && errno == EINTR);
  return count;
}

int sync_descriptor(int fd) noexcept {
  int result = 0;
  do {
    result = ::fsync(fd);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

void sync_folder(const FileDescriptor& folder, const std::string& path) {
  const int error = sync_descriptor(folder.get());
  if (error != 0 && error != EINVAL && error != ENOTSUP)
    fail_system(ErrorKind::io, "sync the folder", path, error);
}

SplitPath split_path(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace recallbench
