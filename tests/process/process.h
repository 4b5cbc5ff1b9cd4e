#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/base/io/temporary_folder.h"

namespace recallbench {

/// How a program ended.
struct Ended {
  int code = -1;   ///< exit code; -1: killed
  int signal = 0;  ///< by this signal
  std::string out, err;
};

struct ProcessOptions {
  std::map<std::string, std::string> environment;  ///< added to this process'
  std::string folder;                              ///< where it runs; "": here
  std::string input;                               ///< its standard input
  long file_size_limit = -1;                       ///< bytes (RLIMIT_FSIZE); -1: none
  int error_descriptor = -1;                       ///< its standard error, instead of a file
};

/// A program started by a test; killed, if it still runs, with its holder.
class Process {
 public:
  explicit Process(const std::vector<std::string>& command, const ProcessOptions& options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void send(int signal) const;
  /// The processes that it started and that still run.
  std::vector<pid_t> children() const;
  Ended wait();

 private:
  TemporaryFolder folder_;
  pid_t pid_ = -1;
};

/// Starts a program and waits for its end.
Ended run_program(const std::vector<std::string>& command, const ProcessOptions& options = {});

/// Looks at `condition` every 2 ms; false if it does not hold within 60 s.
bool eventually(const std::function<bool()>& condition);

bool contains(const std::string& text, const std::string& part);

/// Whole files.
std::string file_text(const std::string& path);
void write_text(const std::string& path, const std::string& text);

}  // namespace recallbench
