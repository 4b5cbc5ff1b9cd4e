#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/io/posix.h"

namespace recallbench {

/// A file of lines that only grows at its end, and can be cut back (`metrics.jsonl`): one writer,
/// any number of readers. Every error is an Error(io).
class LineFile {
 public:
  /// Opens or creates it; a last line without its newline (its writer died) is cut off.
  explicit LineFile(std::string path);

  /// Writes `line` and a newline at the end; on failure the file is as before. `line` must not
  /// contain a newline.
  void append(std::string_view line);

  /// Keeps the first `count` lines. Fewer than that in the file is an error.
  void truncate_to(std::int64_t count);

  /// Makes what was appended last through a power loss.
  void sync();

  std::int64_t line_count() const { return lines_; }
  const std::string& path() const { return path_; }

 private:
  /// Offset behind the first `count` lines, or behind the last whole line; sets `lines_` to the
  /// lines before it.
  std::int64_t find_end(std::int64_t count);
  void cut(std::int64_t size);

  std::string path_;
  FileDescriptor file_;
  std::int64_t lines_ = 0;
  std::int64_t size_ = 0;
};

/// The whole lines of a file of at most `max_bytes`, without their newlines; a torn last line is
/// left out. Throws Error(kind).
std::vector<std::string> read_lines(const std::string& path, std::uint64_t max_bytes,
                                    ErrorKind kind = ErrorKind::io);

}  // namespace recallbench
