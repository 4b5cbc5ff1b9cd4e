#pragma once

#include <cstdint>
#include <exception>
#include <functional>

namespace recallbench {

/// Says whether the making of data is to end; empty: never. Any thread may ask.
using StopRequested = std::function<bool()>;

/// What the making of data throws once it is to end.
struct Stopped : std::exception {
  const char* what() const noexcept override { return "stopped while data were made"; }
};

/// Throws Stopped where that is asked for.
inline void end_if(const StopRequested& stop) {
  if (stop && stop()) throw Stopped();
}

/// Asks every few milliseconds of work, so that small data are made without a question.
class StopCheck {
 public:
  /// Borrows `stop`.
  explicit StopCheck(const StopRequested& stop) : stop_(stop) {}
  /// After so many more numbers that were drawn.
  void drawn(std::int64_t numbers) {
    drawn_ += numbers;
    if (drawn_ < kNumbers) return;
    drawn_ = 0;
    end_if(stop_);
  }

 private:
  static constexpr std::int64_t kNumbers = 1 << 18;
  const StopRequested& stop_;
  std::int64_t drawn_ = 0;
};

}  // namespace recallbench
