#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/figure.h"

namespace recallbench {

/// Colour and marker of the n-th family: Okabe-Ito without its yellow, which is too faint on white,
/// against six shapes; 66 pairs before one comes again.
struct FigureStyle {
  const char* color;   ///< "#RRGGBB"
  int filled, hollow;  ///< gnuplot's numbers of the marker
  int dash;            ///< 1 solid; 2 once the colours come again
};
FigureStyle figure_style(std::size_t index);

struct FigureTick {
  double place;
  std::string label;  ///< empty: a small tick
};

/// Ranges, ticks and canvas, from what is to be shown.
struct FigureLayout {
  double x_min, x_max, y_min, y_max;
  double zero_place;  ///< where state 0 is drawn; 0 if nothing has it
  double zero_break;  ///< the line between 0 and the axis; 0 as above
  std::vector<FigureTick> x_ticks;
  double y_step;
  int right_margin;                         ///< characters
  std::size_t legend_columns, legend_rows;  ///< that the legend takes at most
  double width, height;                     ///< against the usual canvas, >= 1
};
FigureLayout layout_of(const Figure& figure);

/// What the legend calls the series: names of their own, short enough, as distinct as they were.
std::vector<std::string> legend_names(const Figure& figure);

/// Where a state is drawn: itself, or the place of 0.
double place_of(double state, const FigureLayout& layout);

/// "512", "3 Ki", "1.5 Mi": bytes on an axis.
std::string bytes_label(double bytes);

/// One block of the data file, in the order in which the script numbers them.
struct FigureBlock {
  enum Kind { frontier, chance, line, whiskers, points, published } kind;
  std::size_t series;  ///< of line, whiskers, points and published
  bool has_band;       ///< of a line: some point has more than one seed
};
std::vector<FigureBlock> blocks_of(const Figure& figure);

/// The points of a series that its line joins: the highest at each state, by rising state.
std::vector<FigurePoint> line_points(const FigureSeries& series);

/// Those whose range over seeds no band shows: off the line, or alone on it.
std::vector<FigurePoint> whisker_points(const FigureSeries& series);

}  // namespace recallbench
