#include "analysis/figure_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "analysis/drawn_text.h"
#include "analysis/short_names.h"

namespace recallbench {
namespace {

constexpr std::size_t kNameLimit = 28;  // columns in the legend
constexpr std::size_t kMostRows = 40;   // of one column of the legend
constexpr double kUsualRows = 12;       // legend entries that the usual height holds
constexpr double kUsualMargin = 20;     // characters that the usual width spares for the legend
constexpr double kUsualColumns = 105;   // the usual width in characters
constexpr double kUsualCaption = 122;   // columns of the caption that the usual width holds
constexpr double kUsualLines = 20;      // the usual height in legend entries

/// What lies on the canvas, as far as ranges go.
struct Extent {
  double smallest_state = INFINITY, largest_state = 0;
  double lowest = INFINITY, highest = -INFINITY;
  bool has_zero = false;

  void add(const FigurePoint& point) {
    if (point.x > 0) {
      smallest_state = std::min(smallest_state, point.x);
      largest_state = std::max(largest_state, point.x);
    } else {
      has_zero = true;
    }
    lowest = std::min({lowest, point.y, point.min});
    highest = std::max({highest, point.y, point.max});
  }
};

Extent extent_of(const Figure& figure) {
  Extent extent;
  for (const FigureSeries& series : figure.series) {
    for (const FigurePoint& point : series.points)
      extent.add(point);
    for (const FigurePoint& point : series.published)
      extent.add(point);
  }
  if (extent.largest_state == 0) extent.smallest_state = extent.largest_state = 1024;
  if (extent.lowest > extent.highest) extent.lowest = 0, extent.highest = 1;
  return extent;
}

/// Powers of two, halves between them on a short axis, every second or third one on a long axis.
std::vector<FigureTick> ticks_between(double low, double high) {
  std::vector<FigureTick> ticks;
  const int first = static_cast<int>(std::ceil(low)), last = static_cast<int>(std::floor(high));
  const double span = high - low;
  const int every = span <= 9 ? 1 : span <= 18 ? 2 : 1 + static_cast<int>(span / 9);
  for (int power = first - 1; power <= last; ++power) {
    const double place = std::exp2(power);
    if (power >= first) ticks.push_back({place, power % every == 0 ? bytes_label(place) : ""});
    const double half = 1.5 * place;
    const bool inside = std::log2(half) >= low && std::log2(half) <= high;
    if (span <= 3.5 && power >= 1 && inside) ticks.push_back({half, bytes_label(half)});
  }
  return ticks;
}

void set_x_range(const Extent& extent, FigureLayout& layout) {
  double low = std::log2(extent.smallest_state) - 0.35;
  double high = std::log2(extent.largest_state) + 0.35;
  if (const double missing = 2.5 - (high - low); missing > 0)
    low -= missing / 2, high += missing / 2;
  layout.x_ticks = ticks_between(low, high);
  layout.zero_place = layout.zero_break = 0;
  if (extent.has_zero) {
    const double room = std::max(0.09 * (high - low), 0.35);
    layout.zero_break = std::exp2(low);
    layout.zero_place = std::exp2(low - room);
    low -= 1.6 * room;
    layout.x_ticks.insert(layout.x_ticks.begin(), {layout.zero_place, "0"});
  }
  layout.x_min = std::exp2(low);
  layout.x_max = std::exp2(high);
}

/// All of [0, 1], unless everything lies in a narrow part of it.
void set_y_range(const Extent& extent, FigureLayout& layout) {
  double low = 0, high = 1;
  if (extent.lowest >= 0.8) low = std::floor((extent.lowest - 0.005) * 50) / 50;
  if (extent.highest <= 0.4) high = std::max(0.1, std::ceil((extent.highest + 0.01) * 10) / 10);
  const double span = high - low;
  layout.y_step = span > 0.55   ? 0.2
                  : span > 0.3  ? 0.1
                  : span > 0.12 ? 0.05
                  : span > 0.06 ? 0.02
                                : 0.01;
  layout.y_min = low == 0 ? -0.02 * span : low;
  layout.y_max = high + 0.03 * span;
}

void set_canvas(const Figure& figure, FigureLayout& layout) {
  double widest = 15;    // "Pareto frontier"
  std::size_t rows = 3;  // with chance, published
  const std::vector<std::string> names = legend_names(figure);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (figure.series[i].points.empty() && figure.series[i].published.empty()) continue;
    widest = std::max(widest, drawn_width(names[i]));
    ++rows;
  }
  layout.legend_columns = (rows + kMostRows - 1) / kMostRows;
  layout.legend_rows = (rows + layout.legend_columns - 1) / layout.legend_columns;
  layout.right_margin = static_cast<int>(layout.legend_columns) * (static_cast<int>(widest) + 7);
  layout.width = 1 + std::max(0.0, layout.right_margin - kUsualMargin) / kUsualColumns;
  layout.width = std::max(layout.width, drawn_width(figure.caption) / kUsualCaption);
  layout.height =
      1 + std::max(0.0, static_cast<double>(layout.legend_rows) - kUsualRows) / kUsualLines;
}

}  // namespace

std::vector<std::string> legend_names(const Figure& figure) {
  constexpr std::string_view kPublished = " (published)";
  std::vector<std::string> names;
  for (const FigureSeries& series : figure.series)
    names.push_back(series.name);
  names = short_names(names, kNameLimit);
  for (std::size_t i = 0; i < names.size(); ++i)
    if (figure.series[i].points.empty()) names[i] += kPublished;
  return names;
}

FigureStyle figure_style(std::size_t index) {
  constexpr const char* kColors[] = {"#000000", "#0072B2", "#D55E00", "#009E73",
                                     "#CC79A7", "#56B4E9", "#E69F00", "#882255",
                                     "#8C564B", "#999933", "#5E3C99"};
  constexpr int kFilled[] = {7, 5, 9, 13, 11, 15};
  const int filled = kFilled[index % std::size(kFilled)];
  const int dash = index / std::size(kColors) % 2 == 0 ? 1 : 2;
  return {kColors[index % std::size(kColors)], filled, filled - 1, dash};
}

FigureLayout layout_of(const Figure& figure) {
  const Extent extent = extent_of(figure);
  FigureLayout layout{};
  set_x_range(extent, layout);
  set_y_range(extent, layout);
  set_canvas(figure, layout);
  return layout;
}

double place_of(double state, const FigureLayout& layout) {
  return state > 0 ? state : layout.zero_place;
}

std::string bytes_label(double bytes) {
  constexpr const char* kUnits[] = {"", " Ki", " Mi", " Gi", " Ti", " Pi"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.4g}{}", bytes, kUnits[unit]);
}

std::vector<FigurePoint> line_points(const FigureSeries& series) {
  std::vector<FigurePoint> line = series.points;
  std::stable_sort(line.begin(), line.end(), [](const FigurePoint& a, const FigurePoint& b) {
    return a.x != b.x ? a.x < b.x : a.y > b.y;
  });
  const auto same_state = [](const FigurePoint& a, const FigurePoint& b) { return a.x == b.x; };
  line.erase(std::unique(line.begin(), line.end(), same_state), line.end());
  return line;
}

std::vector<FigurePoint> whisker_points(const FigureSeries& series) {
  const std::vector<FigurePoint> line = line_points(series);
  std::vector<FigurePoint> whiskers;
  for (const FigurePoint& point : series.points) {
    const bool on_line = std::any_of(line.begin(), line.end(), [&](const FigurePoint& other) {
      return other.x == point.x && other.y == point.y && other.hover == point.hover;
    });
    if (point.n > 1 && point.min < point.max && (!on_line || line.size() == 1))
      whiskers.push_back(point);
  }
  return whiskers;
}

std::vector<FigureBlock> blocks_of(const Figure& figure) {
  std::vector<FigureBlock> blocks;
  if (!figure.frontier.empty()) blocks.push_back({FigureBlock::frontier, 0, false});
  const FigureLayout layout = layout_of(figure);
  if (figure.chance && *figure.chance >= layout.y_min && *figure.chance <= layout.y_max)
    blocks.push_back({FigureBlock::chance, 0, false});
  for (std::size_t i = 0; i < figure.series.size(); ++i) {
    const FigureSeries& series = figure.series[i];
    if (!series.published.empty()) blocks.push_back({FigureBlock::published, i, false});
    if (series.points.empty()) continue;
    const std::vector<FigurePoint> line = line_points(series);
    const bool has_band =
        line.size() > 1 && std::any_of(line.begin(), line.end(),
                                       [](const auto& p) { return p.n > 1 && p.min < p.max; });
    blocks.push_back({FigureBlock::line, i, has_band});
    if (!whisker_points(series).empty()) blocks.push_back({FigureBlock::whiskers, i, false});
    blocks.push_back({FigureBlock::points, i, false});
  }
  return blocks;
}

}  // namespace recallbench
