#pragma once

namespace recallbench {

/// Exit codes of the program.
enum ExitCode {
  kDone = 0,
  kSomeFailed = 1,  ///< the results say which runs, and why
  kUsage = 2,
  kResults = 3,  ///< results cannot be read or written
  kPluginRefused = 4,
  kInterrupted = 75,  ///< stopped by a signal; the same command goes on
};

}  // namespace recallbench
