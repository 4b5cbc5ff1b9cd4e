#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include "analysis/characters.h"
#include "analysis/drawn_text.h"
#include "analysis/figure.h"
#include "analysis/figure_layout.h"
#include "analysis/report.h"
#include "analysis/task_names.h"
#include "kernels/base/error.h"
#include "kernels/base/io/atomic_file.h"

namespace recallbench {
namespace {

std::string hover_of(const FrontierEntry& entry, const std::string& column) {
  const ModelPoint& p = entry.point;
  std::string text = fmt::format("{}: {}\n", p.family, p.model);
  if (p.state_bytes) text += fmt::format("state {} bytes measured", *p.state_bytes);
  if (std::isfinite(p.published_bytes))
    text += fmt::format("{}{:.0f} by the published formula", p.state_bytes ? ", " : "state ",
                        p.published_bytes);
  text += fmt::format("\n{} {:.4f} (from {:.4f} to {:.4f}, n = {}), validation {:.4f}\n", column,
                      p.result.mean, p.result.min, p.result.max, p.result.n, p.valid.mean);
  text +=
      fmt::format("learning rate {:.4g}, weight decay {:.4g}\n", p.learning_rate, p.weight_decay);
  return text + fmt::format("{}", fmt::join(p.run_ids, "\n"));
}

void add_points(Figure& figure, const TaskFrontier& task, const std::string& column) {
  for (const FrontierEntry& entry : task.entries) {
    const ModelPoint& p = entry.point;
    auto series = std::find_if(figure.series.begin(), figure.series.end(),
                               [&](const FigureSeries& s) { return s.name == p.family; });
    if (!entry.is_drawn()) continue;
    series->points.push_back({entry.state, p.result.mean, p.result.min, p.result.max, p.result.n,
                              hover_of(entry, column)});
    if (!entry.on_frontier) continue;
    const bool repeated = !figure.frontier.empty() && figure.frontier.back().x == entry.state;
    if (!repeated) figure.frontier.push_back({entry.state, p.result.mean, 0, 0, 1, ""});
  }
}

void add_published(Figure& figure, const std::vector<PublishedPoint>& published) {
  for (const PublishedPoint& point : published) {
    std::vector<std::string> names;
    for (const FigureSeries& series : figure.series)
      names.push_back(series.name);
    const auto family = family_of(point.series, names);
    if (!family) figure.series.push_back({point.series, {}, {}});
    FigureSeries& series = family ? figure.series[*family] : figure.series.back();
    series.published.push_back({point.state_bytes, point.accuracy, point.accuracy, point.accuracy,
                                1,
                                fmt::format("published: {}\nstate {:.0f} bytes, accuracy {:.3f}",
                                            point.series, point.state_bytes, point.accuracy)});
  }
}

/// The chance level if all runs of the task agree on it.
std::optional<double> chance_of(const TaskFrontier& task) {
  std::set<double> levels;
  for (const FrontierEntry& entry : task.entries)
    if (std::isfinite(entry.point.chance)) levels.insert(entry.point.chance);
  return levels.size() == 1 ? std::optional(*levels.begin()) : std::nullopt;
}

/// Why nothing of a task is drawn.
const char* no_point_reason(const TaskFrontier& task) {
  const auto any = [&](const auto& holds) {
    return std::any_of(task.entries.begin(), task.entries.end(), holds);
  };
  if (!any([](const FrontierEntry& entry) { return entry.point.has_result; }))
    return "no run was finished";
  return any([](const FrontierEntry& entry) { return std::isfinite(entry.point.result.mean); })
             ? "no finished run has a state"
             : "no finished run has this accuracy";
}

/// Counts of one task: the runs behind the points, and what became of them.
std::string caption_of(const TaskFrontier& task) {
  std::int64_t runs = 0, diverged = 0, failed = 0, fewest = 0, most = 0;
  for (const FrontierEntry& entry : task.entries) {
    runs += entry.point.runs;
    diverged += entry.point.diverged;
    failed += entry.point.failed;
    if (!entry.is_drawn()) continue;
    fewest = fewest == 0 ? entry.point.result.n : std::min(fewest, entry.point.result.n);
    most = std::max(most, entry.point.result.n);
  }
  std::string text = fmt::format("{} run{}, ", runs, runs == 1 ? "" : "s");
  if (most > 0)
    text += fewest == most ? fmt::format("{} seed{} a point, ", most, most == 1 ? "" : "s")
                           : fmt::format("{} to {} seeds a point, ", fewest, most);
  text += fmt::format("{} diverged", diverged);
  if (failed > 0) text += fmt::format(", {} failed", failed);
  if (most == 0) return text + fmt::format("; {}, so there is no point", no_point_reason(task));
  if (most > 1) text += "; band: lowest to highest seed";
  if (const std::string chosen = choice_text(task.choice()); !chosen.empty())
    text += fmt::format("; {} chosen on validation data", chosen);
  return text;
}

std::string x_label_of(const Frontier& frontier, const TaskFrontier& task) {
  if (frontier.axis == StateAxis::published) return "State size (bytes, by the published formula)";
  std::set<std::int64_t> lengths;
  for (const FrontierEntry& entry : task.entries)
    if (entry.point.state_length) lengths.insert(*entry.point.state_length);
  if (lengths.size() != 1) return "State size (bytes, measured)";
  return fmt::format("State size (bytes, measured at length {})", *lengths.begin());
}

std::string y_label_of(const std::string& column) {
  if (column == "test") return "Test accuracy";
  if (column == "valid") return "Validation accuracy";
  return column;
}

/// "test data: mqar": the names of the tasks alone, since the whole description does not fit.
std::string subtitle_of(const std::string& task) {
  const auto test = task.find("; test ");
  std::set<std::string> names;
  for (std::size_t end = task.find('(', test);
       test != std::string::npos && end != std::string::npos; end = task.find('(', end + 1)) {
    const std::size_t begin = task.find_last_of(" +", end - 1) + 1;
    names.insert(task.substr(begin, end - begin));
  }
  return names.empty() ? task : fmt::format("test data: {}", fmt::join(names, ", "));
}

/// "TITLE: TASK", the title cut so that the task is seen whatever its length.
std::string title_with(const std::string& title, const std::string& task) {
  const auto taken = static_cast<std::size_t>(std::ceil(drawn_width(task))) + 2;
  const std::size_t room = kTitleColumns - std::min(taken, kTitleColumns - 1);
  return fmt::format("{}: {}", drawn_text(title, room), task);
}

Figure figure_of(const Frontier& frontier, const TaskFrontier& task, const FigureOptions& options) {
  Figure figure;
  figure.title = options.title;
  if (figure.title.empty()) figure.title = fmt::format("{}", fmt::join(frontier.sweeps, " + "));
  if (figure.title.empty()) figure.title = "Recall against state size";
  if (frontier.tasks.size() > 1) figure.title = title_with(figure.title, task.name);
  figure.subtitle = subtitle_of(task.task);
  if (options.published_differ) figure.subtitle += "; published points: another task";
  figure.caption = caption_of(task);
  figure.x_label = x_label_of(frontier, task);
  figure.y_label = y_label_of(frontier.column);
  // Every family, so that its colour is the same in the figures of all tasks and columns.
  for (const std::string& family : frontier.families)
    figure.series.push_back({family, {}, {}});
  add_points(figure, task, frontier.column);
  add_published(figure, options.published);
  figure.chance = chance_of(task);
  return figure;
}

/// "frontier", "frontier-valid", "frontier-published-test-num_kv_pairs-accuracy-8".
std::string base_name(const Frontier& frontier) {
  std::string name = "frontier";
  if (frontier.axis == StateAxis::published) name += "-published";
  if (frontier.column == "test") return name;
  name += '-';
  for (const char c : frontier.column)
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ? c : '-';
  return name;
}

/// Models of several families whose markers hide one another: "A and B; C and D", or empty.
std::string hidden_models(const TaskFrontier& task, const FigureLayout& layout) {
  constexpr double kPixels = 300;  // of the accuracy's axis in the SVG
  constexpr std::size_t kMostPlaces = 8;
  const double apart = (layout.y_max - layout.y_min) / kPixels;
  std::vector<std::string> places;
  for (auto first = task.entries.begin(); first != task.entries.end() && first->is_drawn();) {
    std::set<std::string> families;
    std::vector<std::string> names;
    auto next = first;  // the entries are sorted by state and accuracy
    for (; next != task.entries.end() && next->is_drawn() && next->state == first->state &&
           first->point.result.mean - next->point.result.mean < apart;
         ++next) {
      families.insert(next->point.family);
      names.push_back(plain_text(next->point.model, 80));
    }
    if (families.size() > 1) places.push_back(fmt::format("{}", fmt::join(names, " and ")));
    first = next;
  }
  const std::size_t more = places.size() - std::min(places.size(), kMostPlaces);
  places.resize(places.size() - more);
  return fmt::format("{}{}", fmt::join(places, "; "),
                     more == 0 ? "" : fmt::format("; and {} more places", more));
}

/// What a reader of PNG and PDF should know; nothing where no character is `missing`.
std::vector<std::string> glyph_notes(const std::set<std::string>& missing, const Glyphs& glyphs) {
  constexpr std::size_t kMostShown = 12;
  if (missing.empty()) return {};
  std::string shown;
  std::size_t left = kMostShown;
  for (const std::string& character : missing)
    if (left > 0) --left, shown += character;
  if (missing.size() > kMostShown)
    shown += fmt::format(" and {} more", missing.size() - kMostShown);
  const char* form = glyphs.are_known()
                         ? "no installed font has {}: {}; install a font that has them (of Debian "
                           "or Ubuntu: fonts-noto-cjk, fonts-noto-core, fonts-noto-color-emoji) "
                           "and run 'recallbench plot'"
                         : "fc-list was not found or failed, so that it is not known whether a "
                           "font has {}: "
                           "{}; on Debian or Ubuntu: apt-get install fontconfig; then run "
                           "'recallbench plot'";
  return {fmt::format(fmt::runtime(form), plain_text(shown),
                      "PNG and PDF show the numbers of these characters, the SVG leaves them to "
                      "its viewer's fonts")};
}

/// Of `formats` those that can be drawn; says in `problem` why the others cannot.
std::vector<std::string> drawable_formats(const std::vector<std::string>& formats,
                                          const Glyphs& glyphs, std::string& problem) {
  if (!glyphs.empty()) return formats;
  std::vector<std::string> kept;
  for (const std::string& format : formats) {
    if (format == "svg")
      kept.push_back(format);
    else
      problem =
          "no font is installed, so PNG and PDF cannot be drawn. On Debian or Ubuntu: apt-get "
          "install fonts-dejavu-core; then run 'recallbench plot' on the same folder";
  }
  return kept;
}

/// Draws file after file. A gnuplot that hung once is not waited for again.
class Drawing {
 public:
  /// The first reason for a file that was not drawn becomes `problem`.
  Drawing(std::string directory, std::chrono::milliseconds limit, std::string& problem)
      : directory_(std::move(directory)), limit_(limit), problem_(problem) {}

  bool draw(const Figure& figure, const std::string& name, const std::string& format) {
    using Clock = std::chrono::steady_clock;
    if (hangs_) return false;
    const Clock::time_point began = Clock::now();
    try {
      draw_figure(figure, directory_, name, {format}, limit_);
      return true;
    } catch (const Error& error) {
      if (problem_.empty()) problem_ = error.what();
      hangs_ = Clock::now() - began >= limit_;
      return false;
    }
  }

 private:
  std::string directory_;
  std::chrono::milliseconds limit_;
  std::string& problem_;
  bool hangs_ = false;
};

}  // namespace

std::vector<std::string> figure_names(const Frontier& frontier) {
  const std::string base = base_name(frontier);
  if (frontier.tasks.size() == 1) return {base};
  std::vector<std::string> names;
  for (const TaskFrontier& task : frontier.tasks)
    names.push_back(task.name);
  names = file_parts(names);
  for (std::string& name : names)
    name = fmt::format("{}-{}", base, name);
  return names;
}

ReportFiles write_frontier_and_figure(const std::string& directory, const Frontier& frontier,
                                      const FigureOptions& options) {
  const std::string base = base_name(frontier);
  const auto place = [&](const std::string& name) {
    return (std::filesystem::path(directory) / name).string();
  };
  ReportFiles report;
  report.files.push_back(place(base + ".csv"));
  publish(report.files.back(), to_csv(frontier_table(frontier)));
  const Glyphs glyphs = Glyphs::installed(options.tool_limit);
  const std::vector<std::string> formats =
      drawable_formats(options.formats, glyphs, report.figure_problem);
  std::set<std::string> missing;
  std::vector<std::string> left, unasked;  // of an earlier plot
  Drawing drawing(directory, options.tool_limit, report.figure_problem);
  const std::vector<std::string> names = figure_names(frontier);
  for (std::size_t i = 0; i < frontier.tasks.size(); ++i) {
    const Figure figure = figure_of(frontier, frontier.tasks[i], options);
    if (const std::string models = hidden_models(frontier.tasks[i], layout_of(figure));
        !models.empty())
      report.notes.push_back(
          fmt::format("points of several families lie on one another in {}: {}", names[i], models));
    for (const std::string& file : write_figure_source(figure, directory, names[i], glyphs))
      report.files.push_back(place(file));
    for (const std::string& format : formats) {
      const std::string file = fmt::format("{}.{}", names[i], format);
      if (drawing.draw(figure, names[i], format)) {
        report.files.push_back(place(file));
        if (format != "svg") missing.merge(missing_glyphs(figure, glyphs));
      } else if (path_exists(place(file))) {
        left.push_back(file);
      }
    }
  }
  if (!left.empty())
    report.figure_problem += fmt::format("; left from an earlier plot: {}", fmt::join(left, ", "));
  for (const std::string& note : glyph_notes(missing, glyphs))
    report.notes.push_back(note);
  for (const std::string& name : names)
    for (const std::string& format : kFigureFormats)
      if (const std::string file = fmt::format("{}.{}", name, format);
          std::find(formats.begin(), formats.end(), format) == formats.end() &&
          path_exists(place(file)))
        unasked.push_back(file);
  if (!unasked.empty())
    report.notes.push_back(fmt::format(
        "left from an earlier plot: {}; without --format all are drawn", fmt::join(unasked, ", ")));
  for (const std::string& format : kFigureFormats)
    if (const std::string file = fmt::format("{}.{}", base, format);
        names.size() > 1 && path_exists(place(file)))
      report.notes.push_back(fmt::format("left from an earlier plot of one task: {}", file));
  return report;
}

}  // namespace recallbench
