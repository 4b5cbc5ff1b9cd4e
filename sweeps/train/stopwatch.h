#pragma once

#include <chrono>

namespace recallbench {

/// Adds the seconds of its own life to a total.
class Stopwatch {
 public:
  using Clock = std::chrono::steady_clock;

  /// Begins at `start`, which may lie before it.
  explicit Stopwatch(double& total, Clock::time_point start = Clock::now())
      : total_(total), start_(start) {}
  ~Stopwatch() { total_ += seconds(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  double& total_;
  Clock::time_point start_;
};

}  // namespace recallbench
