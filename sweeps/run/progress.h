#pragma once

#include <map>
#include <string>
#include <vector>

#include "sweeps/run/progress_text.h"

namespace recallbench {

/// How a sweep shows what it does, on standard error.
enum class ProgressStyle {
  bar,    ///< one line for each child, redrawn at most 10 times a second; for terminals
  plain,  ///< a line for each finished run, else at most one in 30 s; no control bytes
  none,
};

/// The style for this process: what RECALLBENCH_PROGRESS (auto, bar, plain, none) says; under auto
/// bars where standard error is a smart terminal; none under `quiet`. Throws Error(usage) on
/// another value.
ProgressStyle choose_progress(bool quiet);

/// The display of one sweep. Times are seconds of one monotonic clock.
class Progress {
 public:
  /// `descriptor` is where it writes; failures to write are ignored.
  Progress(ProgressStyle style, bool color, int descriptor = 2);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void begin(const SweepCounts& counts, double work_left, double now);
  void run_started(int key, const std::string& label, double now);
  void run_message(int key, const WorkerMessage& message, double now);
  void run_ended(int key);
  /// A line that stays.
  void note(const std::string& line, double now);
  /// What is left now; `work_left` in the unit of `begin`.
  void update(const SweepCounts& counts, double work_left);
  /// Redraws, or writes the line that is due.
  void tick(double now);
  /// Seconds until `tick` has something to do.
  double next_tick(double now) const;
  /// Takes the bars away.
  void end();

 private:
  void write(const std::string& text) const;
  std::string erase() const;
  void draw(double now);
  double seconds_left(double now) const;
  TextStyle style_now() const;

  ProgressStyle style_;
  bool color_;
  bool unicode_;
  int descriptor_;
  SweepCounts counts_;
  double began_ = 0, work_begin_ = 0, work_left_ = 0;
  double last_line_ = 0;
  std::map<int, RunView> runs_;
  std::vector<int> drawn_;  ///< columns of each line that stands on the terminal
};

}  // namespace recallbench
