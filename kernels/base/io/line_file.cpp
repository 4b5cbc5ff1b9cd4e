#include "kernels/base/io/line_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <limits>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/text.h"

namespace recallbench {

LineFile::LineFile(std::string path) : path_(std::move(path)) {
  const auto [folder_path, name] = split_path(path_);
  const FileDescriptor folder = open_folder(folder_path);
  file_ = open_at(folder.get(), name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (!file_.is_open()) fail_system(ErrorKind::io, "open", path_, errno);
  require_regular_file(file_, path_, ErrorKind::io);
  sync_folder(folder, folder_path);
  cut(find_end(std::numeric_limits<std::int64_t>::max()));
}

std::int64_t LineFile::find_end(std::int64_t count) {
  if (::lseek(file_.get(), 0, SEEK_SET) != 0) fail_system(ErrorKind::io, "seek in", path_, errno);
  std::array<char, 1 << 16> buffer;
  std::int64_t begin = 0, end = 0;
  lines_ = 0;
  while (lines_ < count) {
    const std::int64_t read = read_some(file_.get(), buffer.data(), buffer.size());
    if (read < 0) fail_system(ErrorKind::io, "read", path_, errno);
    if (read == 0) break;
    const std::string_view text(buffer.data(), static_cast<std::size_t>(read));
    for (std::size_t at = text.find('\n'); at != std::string_view::npos && lines_ < count;
         at = text.find('\n', at + 1)) {
      ++lines_;
      end = begin + static_cast<std::int64_t>(at) + 1;
    }
    begin += read;
  }
  return end;
}

void LineFile::cut(std::int64_t size) {
  if (::ftruncate(file_.get(), size) != 0) fail_system(ErrorKind::io, "truncate", path_, errno);
  if (::lseek(file_.get(), size, SEEK_SET) != size)
    fail_system(ErrorKind::io, "seek in", path_, errno);
  size_ = size;
}

void LineFile::append(std::string_view line) {
  check(line.find('\n') == std::string_view::npos, "LineFile::append",
        "expected one line, got {} bytes with a newline among them", line.size());
  const std::string text = std::string(line) + "\n";
  if (const int error = write_all(file_.get(), text); error != 0) {
    cut(size_);
    fail_system(ErrorKind::io, "append to", path_, error);
  }
  size_ += static_cast<std::int64_t>(text.size());
  ++lines_;
}

void LineFile::truncate_to(std::int64_t count) {
  check(count >= 0, "LineFile::truncate_to", "expected a count of lines, got {}", count);
  const std::int64_t had = lines_;
  if (count > had)
    fail(ErrorKind::io, "file",
         "{} should have at least {} lines but has {}; remove its folder to start again",
         in_quotes(path_), count, had);
  cut(find_end(count));
}

void LineFile::sync() {
  if (const int error = sync_descriptor(file_.get()); error != 0)
    fail_system(ErrorKind::io, "sync", path_, error);
}

std::vector<std::string> read_lines(const std::string& path, std::uint64_t max_bytes,
                                    ErrorKind kind) {
  const std::string text = read_file(path, max_bytes, kind);
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace recallbench
