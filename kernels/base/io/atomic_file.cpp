#include "kernels/base/io/atomic_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/base/hash.h"
#include "kernels/base/io/posix.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr std::string_view kTemporary = ".tmp.";
/// Leaves room for the temporary name's ends within the usual 255 bytes.
constexpr std::size_t kLongestName = 200;

/// A file that exists only until it is renamed; its destructor removes it.
class TemporaryFile {
 public:
  TemporaryFile(const FileDescriptor& folder, const std::string& name, const std::string& path)
      : folder_(folder.get()) {
    const std::string stem = name.size() <= kLongestName ? name : xxh3_128_hex(name);
    const std::string base = fmt::format(".{}{}{}", stem, kTemporary, ::getpid());
    // Another thread, or a dead process of this number, may have the first names.
    for (int attempt = 0; attempt < 1000 && !file_.is_open(); ++attempt) {
      name_ = attempt == 0 ? base : fmt::format("{}.{}", base, attempt);
      file_ = open_at(folder_, name_, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666);
      if (!file_.is_open() && errno != EEXIST) break;
    }
    if (!file_.is_open()) fail_system(ErrorKind::io, "create a file beside", path, errno);
  }
  ~TemporaryFile() {
    if (!name_.empty()) ::unlinkat(folder_, name_.c_str(), 0);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  FileDescriptor& file() { return file_; }

  /// 0 or the errno.
  int rename_to(const std::string& name) {
    if (::renameat(folder_, name_.c_str(), folder_, name.c_str()) != 0) return errno;
    name_.clear();
    return 0;
  }

 private:
  int folder_;
  std::string name_;
  FileDescriptor file_;
};

/// The process number in `.<name>.tmp.<pid>` or `.<name>.tmp.<pid>.<n>`.
std::optional<pid_t> temporary_owner(std::string_view name) {
  const std::size_t at = name.rfind(kTemporary);
  if (name.empty() || name.front() != '.' || at == std::string_view::npos || at == 0) return {};
  const std::string_view rest = name.substr(at + kTemporary.size());
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), pid);
  if (error != std::errc() || pid <= 0) return {};
  const std::string_view tail = rest.substr(static_cast<std::size_t>(end - rest.data()));
  const bool numbered = tail.size() > 1 && tail.front() == '.' &&
                        tail.find_first_not_of("0123456789", 1) == std::string_view::npos;
  if (!tail.empty() && !numbered) return {};
  return pid;
}

bool is_gone(pid_t pid) {
  return pid == ::getpid() || (::kill(pid, 0) != 0 && errno == ESRCH);
}

void make_one_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) == 0) {
    const std::string above = split_path(path).folder;
    sync_folder(open_folder(above), above);
    return;
  }
  const int error = errno;
  struct stat status {};
  // Mount points and their like may answer EROFS or EACCES although they exist.
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return;
  fail_system(ErrorKind::io, "create the folder", path, error);
}

}  // namespace

void publish(const std::string& path, std::string_view bytes) {
  publish(path, std::span<const std::string_view>(&bytes, 1));
}

void publish(const std::string& path, std::span<const std::string_view> pieces) {
  const auto [folder_path, name] = split_path(path);
  if (name.empty() || name == "." || name == "..")
    fail(ErrorKind::io, "file", "{} is not the path of a file; give one", in_quotes(path));
  const FileDescriptor folder = open_folder(folder_path);
  TemporaryFile temporary(folder, name, path);
  for (const std::string_view piece : pieces) {
    if (const int error = write_all(temporary.file().get(), piece); error != 0)
      fail_system(ErrorKind::io, "write", path, error);
  }
  if (const int error = sync_descriptor(temporary.file().get()); error != 0)
    fail_system(ErrorKind::io, "sync", path, error);
  if (const int error = temporary.file().close(); error != 0)
    fail_system(ErrorKind::io, "close", path, error);
  if (const int error = temporary.rename_to(name); error != 0)
    fail_system(ErrorKind::io, "replace", path, error);
  sync_folder(folder, folder_path);
}

std::string read_file(const std::string& path, std::uint64_t max_bytes, ErrorKind kind) {
  // O_NONBLOCK: a named pipe is refused instead of waited for.
  const FileDescriptor file = open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK);
  if (!file.is_open()) fail_system(kind, "open", path, errno);
  require_regular_file(file, path, kind);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_system(kind, "examine", path, errno);
  const std::uint64_t limit = std::min(max_bytes, std::uint64_t{1} << 62);
  const auto too_large = [&] {
    fail(kind, "file",
         "{} has more than the {} bytes that are read at most; check that it is the right file",
         in_quotes(path), max_bytes);
  };
  if (static_cast<std::uint64_t>(status.st_size) > limit) too_large();
  // One byte more than expected, so that the end is seen without growing.
  std::string bytes(static_cast<std::size_t>(status.st_size) + 1, '\0');
  std::size_t used = 0;
  while (true) {
    const std::int64_t count = read_some(file.get(), bytes.data() + used, bytes.size() - used);
    if (count < 0) fail_system(kind, "read", path, errno);
    if (count == 0) break;
    used += static_cast<std::size_t>(count);
    if (used > limit) too_large();
    if (used == bytes.size()) bytes.resize(std::min<std::uint64_t>(2 * used, limit) + 1);
  }
  bytes.resize(used);
  return bytes;
}

void make_directories(const std::string& path) {
  if (path.empty()) fail(ErrorKind::io, "file", "a folder's path is empty; give one");
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1))
    make_one_directory(path.substr(0, slash));
  if (path.back() != '/' || path.size() == 1) make_one_directory(path);
}

bool path_exists(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) return true;
  if (errno != ENOENT && errno != ENOTDIR) fail_system(ErrorKind::io, "examine", path, errno);
  return false;
}

int remove_leftovers(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(folder.c_str()), &::closedir);
  if (stream == nullptr) fail_system(ErrorKind::io, "list the folder", folder, errno);
  std::vector<std::string> dead;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::optional<pid_t> owner = temporary_owner(entry->d_name);
    if (owner && is_gone(*owner)) dead.emplace_back(entry->d_name);
    errno = 0;
  }
  if (errno != 0) fail_system(ErrorKind::io, "list the folder", folder, errno);
  int removed = 0;
  for (const std::string& name : dead) {
    if (::unlinkat(::dirfd(stream.get()), name.c_str(), 0) == 0)
      ++removed;
    else if (errno != ENOENT && errno != EISDIR)
      fail_system(ErrorKind::io, "remove", folder + "/" + name, errno);
  }
  return removed;
}

}  // namespace recallbench
