#include "sweeps/run/progress_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace recallbench {
namespace {

constexpr int kLongestBar = 24;
constexpr int kShortestBar = 4;

std::string repeated(const char* text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i)
    all += text;
  return all;
}

/// A bar of `width` columns.
std::string bar(double fraction, int width, const TextStyle& style) {
  const int filled = std::clamp(static_cast<int>(std::lround(fraction * width)), 0, width);
  const std::string done = repeated(style.unicode ? "\u2501" : "#", filled);
  const std::string open = repeated(style.unicode ? "\u2500" : "-", width - filled);
  if (!style.color) return done + open;
  return "\x1b[32m" + done + "\x1b[0m\x1b[2m" + open + "\x1b[0m";
}

double run_fraction(const RunView& run) {
  return run.last ? fraction_of(run.last->progress) : 0;
}

double run_seconds_left(const RunView& run, double now) {
  const double gained = run_fraction(run) - run.first_fraction;
  if (!(gained > 0)) return std::nan("");
  return (now - run.first_message) * (1 - run_fraction(run)) / gained;
}

/// Everything to the right of the bar, of constant width while a run goes on.
std::string run_numbers(const RunView& run, double now) {
  if (!run.last) return fmt::format("  starting  {:>7}", duration_text(now - run.started));
  const TrainProgress& p = run.last->progress;
  const std::string accuracy = run.accuracy ? fmt::format("{:.3f}", *run.accuracy) : "  -  ";
  const int digits = static_cast<int>(std::to_string(p.max_epochs).size());
  return fmt::format("  epoch {:>{}}/{}  acc {}  {:>5} tok/s  {:>7} left",
                     std::min(p.epoch + 1, p.max_epochs), digits, p.max_epochs, accuracy,
                     short_number(p.tokens_per_s), duration_text(run_seconds_left(run, now)));
}

}  // namespace

std::string duration_text(double seconds) {
  constexpr double kHour = 3600, kDay = 24 * kHour;
  if (!(seconds >= 0 && std::isfinite(seconds))) return "-";
  if (seconds >= 100 * kHour)
    return fmt::format("{:.{}f} days", seconds / kDay, seconds < 10 * kDay ? 1 : 0);
  const auto whole = static_cast<std::int64_t>(std::lround(seconds));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string short_number(double value) {
  if (!std::isfinite(value)) return "-";
  const char* const suffixes[] = {"", "k", "M", "G", "T", "P"};
  std::size_t i = 0;
  for (; value >= 999.5 && i + 1 < std::size(suffixes); ++i)
    value *= 1e-3;
  return fmt::format("{:.3g}{}", value, suffixes[i]);
}

std::string fit_text(const std::string& text, std::size_t width) {
  std::string clean;
  for (const char c : text)
    clean += c >= 0x20 && c <= 0x7e ? c : '?';
  if (clean.size() <= width) return clean;
  return width >= 2 ? clean.substr(0, width - 2) + ".." : clean.substr(0, width);
}

std::string run_line(const RunView& run, double now, std::size_t label_width,
                     const TextStyle& style) {
  const std::string numbers = run_numbers(run, now);
  const int width = style.width - 1;  // the last column makes some terminals wrap
  const int beside = width - static_cast<int>(numbers.size());
  const auto label_room = static_cast<std::size_t>(std::max(beside, 0));
  const std::string label = fit_text(run.label, std::min(label_width, label_room));
  const int bar_width = std::min(beside - static_cast<int>(label_width) - 2, kLongestBar);
  if (bar_width >= kShortestBar)
    return fmt::format("{:<{}}  {}{}", label, label_width, bar(run_fraction(run), bar_width, style),
                       numbers);
  return fit_text(label + numbers, static_cast<std::size_t>(std::max(width, 0)));
}

std::string counts_line(const SweepCounts& counts, double elapsed, double seconds_left) {
  std::string line = fmt::format("{}/{} runs done", counts.done, counts.total);
  if (counts.diverged > 0) line += fmt::format(" ({} diverged)", counts.diverged);
  line +=
      fmt::format(", {} failed, {} running, {} left", counts.failed, counts.running, counts.left());
  if (counts.elsewhere > 0) line += fmt::format(" ({} in another process)", counts.elsewhere);
  line += "  " + duration_text(elapsed);
  if (counts.left() + counts.running > 0)
    line += fmt::format(", about {} left", duration_text(seconds_left));
  return line;
}

}  // namespace recallbench
