#include "kernels/base/io/file_lock.h"

#include <fcntl.h>

#include <cerrno>

namespace recallbench {

std::optional<FileLock> FileLock::try_lock(const std::string& path) {
  FileDescriptor file = open_at(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (!file.is_open()) fail_system(ErrorKind::io, "open the lock", path, errno);
  require_regular_file(file, path, ErrorKind::io);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  int result = 0;
  do {
    result = ::fcntl(file.get(), F_OFD_SETLK, &whole);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return FileLock(std::move(file));
  if (errno == EAGAIN || errno == EACCES) return std::nullopt;
  fail_system(ErrorKind::io, "lock", path, errno);
}

}  // namespace recallbench
