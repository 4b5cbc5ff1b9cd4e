#include "analysis/figure.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/csv.h"
#include "analysis/figure_layout.h"
#include "kernels/base/error.h"

namespace recallbench {
namespace {

/// A single-quoted gnuplot string, in which nothing is evaluated.
std::string single_quoted(std::string_view text, std::size_t limit) {
  std::string quoted = "'";
  for (const char c : plain_text(text, limit))
    quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

/// The same for a string in which gnuplot reads markup: all of it is escaped.
std::string escaped_markup(std::string_view text, std::size_t limit) {
  std::string escaped;
  for (const char c : plain_text(text, limit)) {
    if (std::string_view("\\{}^_@&~").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c == '\'' ? "''" : std::string(1, c);
  }
  return escaped;
}

constexpr std::string_view kSettings = R"(if (!exists("FORMAT")) FORMAT = "svg"
HOVER = exists("HOVER") ? HOVER : 0
set encoding utf8
set datafile separator "\t"
if (!exists("STREAM")) set output BASE.".".FORMAT
set border 3 lw 1 lc rgb "#444444"
set tics nomirror out scale 0.5 textcolor rgb "#222222"
set grid ytics lt 1 lw 0.6 lc rgb "#E6E6E6" back
set tmargin 4
set bmargin 5.2
set key at graph 1.03,1.0 left top vertical maxcols 1 reverse Left samplen 1.4 spacing 1.3 nobox noenhanced
set logscale x 2
)";

std::string terminals(const FigureLayout& layout) {
  return fmt::format(
      "if (FORMAT eq \"svg\") {{\n"
      "  set terminal svg size {:.0f},{:.0f} dynamic enhanced font \"DejaVu Sans,12\" linewidth 1 "
      "rounded background rgb \"white\"\n  PS = 0.5\n}}\n"
      "if (FORMAT eq \"png\") {{\n"
      "  set terminal pngcairo size {:.0f},{:.0f} enhanced font \"DejaVu Sans,11\" fontscale 2.0 "
      "linewidth 2.2 rounded background rgb \"white\"\n  PS = 1.9\n}}\n"
      "if (FORMAT eq \"pdf\") {{\n"
      "  set terminal pdfcairo size {:.3f}in,{:.3f}in enhanced color font \"DejaVu Sans,8\" "
      "linewidth 1.3 rounded\n  PS = 0.42\n}}\n",
      760 * layout.width, 470 * layout.height, 1650 * layout.width, 1020 * layout.height,
      5.5 * layout.width, 3.4 * layout.height);
}

std::string axes(const Figure& figure, const FigureLayout& layout) {
  std::string text =
      fmt::format("set xrange [{}:{}]\nset yrange [{}:{}]\nset rmargin {}\n", layout.x_min,
                  layout.x_max, layout.y_min, layout.y_max, layout.right_margin);
  text += fmt::format("set ytics {}\nset format y \"%.{}f\"\nset xtics ()\n", layout.y_step,
                      layout.y_step < 0.1 ? 2 : 1);
  for (const FigureTick& tick : layout.x_ticks)
    text += fmt::format("set xtics add (\"{}\" {}{})\n", tick.label, tick.place,
                        tick.label.empty() ? " 1" : "");
  if (layout.zero_break > 0)
    text += fmt::format(
        "set arrow 1 from {0},graph 0 to {0},graph 1 nohead dt 3 lw 1 lc rgb \"#AAAAAA\" back\n",
        layout.zero_break);
  text += fmt::format(
      "set label 1 '{{/:Bold {}}}' at graph 0,graph 1 offset 0,2.3 left\n"
      "set label 2 {} at graph 0,graph 1 offset 0,1.0 left noenhanced tc rgb \"#555555\"\n"
      "set label 3 {} at screen 0.012,screen 0 offset 0,0.8 left noenhanced tc rgb \"#777777\" "
      "font \",\".(FORMAT eq \"svg\" ? \"10\" : FORMAT eq \"png\" ? \"9\" : \"6.7\")\n"
      "set xlabel {} noenhanced offset 0,0.3\nset ylabel {} noenhanced\n",
      escaped_markup(figure.title, 76), single_quoted(figure.subtitle, 96),
      single_quoted(figure.caption, 128), single_quoted(figure.x_label, 90),
      single_quoted(figure.y_label, 50));
  return text;
}

constexpr const char* kHollowNote = "#777777";

/// Draws one block; empty where it is not of `kind`.
std::string drawing(const FigureBlock& block, std::size_t index) {
  const FigureStyle style = figure_style(block.series);
  const std::string from = fmt::format("DATA index {} u ", index);
  switch (block.kind) {
    case FigureBlock::frontier:
      return from + "1:2 w steps lw 5 lc rgb \"#F0D9A8\" t 'Pareto frontier'";
    case FigureBlock::chance:
      return from + "1:2 w lines lw 1 dt 2 lc rgb \"#888888\" t 'chance'";
    case FigureBlock::line:
      return from +
             fmt::format("1:2 w lines lw 1.6 dt {} lc rgb \"{}\" notitle", style.dash, style.color);
    case FigureBlock::whiskers:
      return from +
             fmt::format("1:2:(0):3 w vectors nohead lw 1.6 lc rgb \"{}\" notitle", style.color);
    case FigureBlock::points:
      return from + fmt::format("1:2 w points pt {} ps PS lc rgb \"{}\" notitle", style.filled,
                                style.color);
    case FigureBlock::published:
      return from + fmt::format("1:2 w points pt {} ps PS*1.15 lw 1.2 lc rgb \"{}\" notitle",
                                style.hollow, style.color);
  }
  return "";
}

std::string legend(const Figure& figure, const FigureLayout& layout) {
  std::string text;
  bool joined = false;
  for (std::size_t i = 0; i < figure.series.size(); ++i) {
    const FigureSeries& series = figure.series[i];
    const FigureStyle style = figure_style(i);
    joined = joined || (!series.points.empty() && !series.published.empty());
    if (!series.points.empty())
      text += fmt::format(
          ", \\\n  keyentry w linespoints lw 1.6 dt {} pt {} ps PS lc rgb \"{}\" t {}", style.dash,
          style.filled, style.color, single_quoted(series.name, layout.name_limit));
    else if (!series.published.empty())
      text += fmt::format(
          ", \\\n  keyentry w points pt {} ps PS*1.15 lw 1.2 lc rgb \"{}\" t {}", style.hollow,
          style.color,
          single_quoted(plain_text(series.name, layout.name_limit) + " (published)", 0));
  }
  if (joined)
    text += fmt::format(
        ", \\\n  keyentry w points pt 6 ps PS*1.15 lw 1.2 lc rgb \"{}\" "
        "t 'hollow: published'",
        kHollowNote);
  return text;
}

/// The plot command: what lies behind comes first, the invisible markers that carry texts last.
std::string plot_command(const Figure& figure, const FigureLayout& layout) {
  const std::vector<FigureBlock> blocks = blocks_of(figure);
  std::vector<std::string> parts;
  const auto draw = [&](FigureBlock::Kind kind) {
    for (std::size_t i = 0; i < blocks.size(); ++i)
      if (blocks[i].kind == kind) parts.push_back(drawing(blocks[i], i));
  };
  draw(FigureBlock::frontier);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (blocks[i].has_band)
      parts.push_back(
          fmt::format("DATA index {} u 1:3:4 w filledcurves fc rgb \"{}\" fs transparent "
                      "solid 0.15 noborder notitle",
                      i, figure_style(blocks[i].series).color));
  draw(FigureBlock::chance);
  draw(FigureBlock::published);
  draw(FigureBlock::whiskers);
  draw(FigureBlock::line);
  draw(FigureBlock::points);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (blocks[i].kind == FigureBlock::points || blocks[i].kind == FigureBlock::published)
      parts.push_back(
          fmt::format("DATA index {} u 1:(HOVER ? $2 : NaN):6 w labels hypertext point "
                      "pt 7 ps 1.4 lc rgb \"#ff000000\" notitle",
                      i));
  if (parts.empty()) parts.push_back("NaN notitle");
  return fmt::format("plot {}{}\n", fmt::join(parts, ", \\\n  "), legend(figure, layout));
}

}  // namespace

std::string figure_script(const Figure& figure, const std::string& base) {
  const FigureLayout layout = layout_of(figure);
  return fmt::format(
             "# Drawn by: gnuplot -e \"FORMAT='svg'\" {0}.gp   (svg, png or pdf), in this folder\n"
             "BASE = \"{0}\"\nDATA = \"{0}.tsv\"\n",
             base) +
         std::string(kSettings) + terminals(layout) + axes(figure, layout) +
         plot_command(figure, layout);
}

}  // namespace recallbench
