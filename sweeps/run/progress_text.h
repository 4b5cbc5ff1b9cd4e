#pragma once

#include <cstdint>
#include <string>

#include "sweeps/run/messages.h"

namespace recallbench {

/// How the numbers of a sweep stand.
struct SweepCounts {
  std::int64_t total = 0;
  std::int64_t done = 0;  ///< with a result: finished, diverged and already there
  std::int64_t diverged = 0;
  std::int64_t failed = 0;
  std::int64_t running = 0;
  std::int64_t elsewhere = 0;  ///< being computed by another process
  std::int64_t left() const { return total - done - failed - running; }
};

/// One run that is under way. Times in seconds of one monotonic clock.
struct RunView {
  std::string label;
  double started = 0;
  std::optional<WorkerMessage> last;
  double first_message = 0;   ///< when the first message came
  double first_fraction = 0;  ///< how far the run was then: more than 0 where it was resumed
  std::optional<double> accuracy;
};

/// "0:07", "12:05", "2:03:10", from 100 hours on "4.2 days"; "-" for what is not finite or
/// negative.
std::string duration_text(double seconds);

/// "873", "52.3k", "1.2M".
std::string short_number(double value);

/// `text` without control characters and, where longer, cut to `width` with a closing "..".
std::string fit_text(const std::string& text, std::size_t width);

/// What a display can do.
struct TextStyle {
  int width = 80;   ///< columns; no line is as long as this
  int height = 24;  ///< rows
  bool unicode = false;
  bool color = false;
};

/// "based lr=0.01 seed=1  ####----  epoch 3/16  acc 0.873  52.3k tok/s     1:20 left", its label
/// padded to `label_width`; the bar goes first where the line is too narrow, then the label's end.
std::string run_line(const RunView& run, double now, std::size_t label_width,
                     const TextStyle& style);

/// "37/120 runs done, 2 failed, 4 running, 77 left  14:02, about 31:40 left".
std::string counts_line(const SweepCounts& counts, double elapsed, double seconds_left);

}  // namespace recallbench
