#include "sweeps/run/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "kernels/base/error.h"
#include "kernels/base/io/terminal.h"
#include "kernels/base/names.h"

namespace recallbench {
namespace {

constexpr double kRedraw = 0.1;        // s
constexpr double kPlainPeriod = 30;    // s
constexpr int kDefaultWidth = 80;      // columns, where the terminal does not say
constexpr std::size_t kLabelMax = 48;  // columns

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    std::string value = environment(name);
    if (value.empty()) continue;
    std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) {
      return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    });
    return value.find("utf-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

/// Columns that `line` takes: code points outside its colour sequences.
int columns(std::string_view line) {
  int count = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = std::min(line.find('m', i), line.size() - 1);
    } else if ((static_cast<unsigned char>(line[i]) & 0xC0) != 0x80) {
      ++count;
    }
  }
  return count;
}

}  // namespace

ProgressStyle choose_progress(bool quiet) {
  const std::string wanted = environment("RECALLBENCH_PROGRESS");
  const std::vector<std::string> known = {"auto", "bar", "plain", "none"};
  if (!wanted.empty() && std::find(known.begin(), known.end(), wanted) == known.end())
    fail(ErrorKind::usage, "progress",
         "RECALLBENCH_PROGRESS must be auto, bar, plain or none, '{}' came{}", wanted,
         hint_for(wanted, known));
  if (quiet || wanted == "none") return ProgressStyle::none;
  if (wanted == "bar") return ProgressStyle::bar;
  if (wanted == "plain") return ProgressStyle::plain;
  return is_smart_terminal(STDERR_FILENO) ? ProgressStyle::bar : ProgressStyle::plain;
}

Progress::Progress(ProgressStyle style, bool color, int descriptor)
    : style_(style), color_(color), unicode_(locale_is_utf8()), descriptor_(descriptor) {}

Progress::~Progress() {
  end();
}

void Progress::begin(const SweepCounts& counts, double work_left, double now) {
  counts_ = counts;
  began_ = last_line_ = now;
  work_begin_ = work_left_ = work_left;
}

void Progress::run_started(int key, const std::string& label, double now) {
  RunView& run = runs_[key];
  run.label = label;
  run.started = now;
}

void Progress::run_message(int key, const WorkerMessage& message, double now) {
  RunView& run = runs_[key];
  const bool first = !run.last;
  run.last = message;
  if (message.accuracy) run.accuracy = message.accuracy;
  if (!first) return;
  run.first_message = now;
  run.first_fraction = fraction_of(message.progress);
}

void Progress::run_ended(int key) {
  runs_.erase(key);
}

void Progress::note(const std::string& line, double now) {
  if (style_ == ProgressStyle::none) return;
  const std::string above = erase();
  drawn_.clear();
  write(above + line + "\n");
  last_line_ = now;
}

void Progress::update(const SweepCounts& counts, double work_left) {
  counts_ = counts;
  work_left_ = work_left;
}

void Progress::tick(double now) {
  if (next_tick(now) > 0) return;
  if (style_ == ProgressStyle::bar) draw(now);
  if (style_ == ProgressStyle::plain)
    write(counts_line(counts_, now - began_, seconds_left(now)) + "\n");
  last_line_ = now;
}

double Progress::next_tick(double now) const {
  if (style_ == ProgressStyle::none) return 3600;
  if (style_ == ProgressStyle::bar && drawn_.empty()) return 0;
  const double period = style_ == ProgressStyle::bar ? kRedraw : kPlainPeriod;
  return std::max(0.0, last_line_ + period - now);
}

void Progress::end() {
  if (drawn_.empty()) return;
  const std::string text = erase();
  drawn_.clear();
  write(text);
}

void Progress::write(const std::string& text) const {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(descriptor_, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    done += static_cast<std::size_t>(count);
  }
}

/// Puts the cursor where the first drawn line began and clears what follows. A terminal that has
/// become narrower since has broken lines in two: rows are counted at its width of now.
std::string Progress::erase() const {
  if (drawn_.empty()) return "";
  const int width = style_now().width;
  int rows = 0;
  for (const int line : drawn_)
    rows += std::max(1, (line + width - 1) / width);
  return fmt::format("\x1b[{}A\r\x1b[J", rows);
}

void Progress::draw(double now) {
  const TextStyle style = style_now();
  std::size_t label_width = 0;
  for (const auto& [key, run] : runs_)
    label_width = std::max(label_width, std::min(run.label.size(), kLabelMax));
  std::vector<std::string> lines;
  const auto room = static_cast<std::size_t>(std::max(style.height - 2, 0));  // else it scrolls
  for (const auto& [key, run] : runs_)
    if (lines.size() < room) lines.push_back(run_line(run, now, label_width, style));
  lines.push_back(fit_text(counts_line(counts_, now - began_, seconds_left(now)),
                           static_cast<std::size_t>(std::max(style.width - 1, 1))));
  std::string text = erase();
  drawn_.clear();
  for (const std::string& line : lines) {
    text += line + "\n";
    drawn_.push_back(columns(line));
  }
  write(text);
}

/// By the work that is done: what is left of it, running runs by their share.
double Progress::seconds_left(double now) const {
  const double gone = work_begin_ - work_left_;
  return gone > 0 ? (now - began_) * work_left_ / gone : std::nan("");
}

TextStyle Progress::style_now() const {
  TextStyle style;
  style.color = color_;
  style.unicode = unicode_;
  winsize size{};
  const bool known = ioctl(descriptor_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  style.width = known ? size.ws_col : kDefaultWidth;
  if (known && size.ws_row > 0) style.height = size.ws_row;
  return style;
}

}  // namespace recallbench
