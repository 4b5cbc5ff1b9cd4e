#include "analysis/figure.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/characters.h"
#include "analysis/drawn_text.h"
#include "analysis/figure_layout.h"
#include "kernels/base/error.h"

namespace recallbench {
namespace {

/// The inside of a double-quoted gnuplot string that shows `text`: all but letters, digits, some
/// harmless signs and UTF-8 is octal, so that nothing ends the string, starts a command (backticks)
/// or expands. (Single quotes do not do: a doubled one at the front ends the string.) A digit
/// behind an octal number is octal too, lest it be read as a part of it.
std::string octal_escaped(std::string_view text) {
  std::string escaped;
  bool after_number = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_digit = c >= '0' && c <= '9';
    const bool is_harmless =
        byte >= 0x80 || std::string_view(" .,;:()+-/=").find(c) != std::string_view::npos ||
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (is_digit && !after_number);
    escaped += is_harmless ? std::string(1, c) : fmt::format("\\{:03o}", byte);
    after_number = !is_harmless;
  }
  return escaped;
}

std::string string_of(std::string_view text, std::size_t limit) {
  return '"' + octal_escaped(limit == 0 ? plain_text(text) : drawn_text(text, limit)) + '"';
}

/// The expression for a text that PNG and PDF show as `drawable`.
std::string choice_of(const std::string& text, const std::string& drawable, std::size_t limit) {
  const std::string shown = string_of(text, limit), other = string_of(drawable, limit);
  return shown == other ? shown : fmt::format("(FORMAT eq \"svg\" ? {} : {})", shown, other);
}

/// Calls `visit` with each text that is drawn.
template <class AnyFigure, class Visit>
void for_each_text(AnyFigure& figure, const Visit& visit) {
  for (auto* text :
       {&figure.title, &figure.subtitle, &figure.caption, &figure.x_label, &figure.y_label})
    visit(*text);
  for (auto& series : figure.series)
    visit(series.name);
}

/// The figure with the texts that PNG and PDF show.
Figure drawable_figure(Figure figure, const Glyphs& glyphs) {
  for_each_text(figure, [&](std::string& text) { text = glyphs.drawable(plain_text(text)); });
  return figure;
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

std::string axes(const Figure& figure, const Figure& drawable, const FigureLayout& layout) {
  std::string text =
      fmt::format("set xrange [{}:{}]\nset yrange [{}:{}]\nset rmargin {}\n", layout.x_min,
                  layout.x_max, layout.y_min, layout.y_max, layout.right_margin);
  if (layout.legend_columns > 1)
    text +=
        fmt::format("set key maxcols {} maxrows {}\n", layout.legend_columns, layout.legend_rows);
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
      "set label 1 {} at graph 0,graph 1 offset 0,2.3 left noenhanced font \"DejaVu Sans:Bold\"\n"
      "set label 2 {} at graph 0,graph 1 offset 0,1.0 left noenhanced tc rgb \"#555555\"\n"
      "set label 3 {} at screen 0.012,screen 0 offset 0,0.8 left noenhanced tc rgb \"#777777\" "
      "font \",\".(FORMAT eq \"svg\" ? \"10\" : FORMAT eq \"png\" ? \"9\" : \"6.7\")\n"
      "set xlabel {} noenhanced offset 0,0.3\nset ylabel {} noenhanced\n",
      choice_of(figure.title, drawable.title, kTitleColumns),
      choice_of(figure.subtitle, drawable.subtitle, 96),
      choice_of(figure.caption, drawable.caption, 180),
      choice_of(figure.x_label, drawable.x_label, 90),
      choice_of(figure.y_label, drawable.y_label, 50));
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

std::string legend(const Figure& figure, const Figure& drawable) {
  const std::vector<std::string> names = legend_names(figure);
  const std::vector<std::string> drawable_names = legend_names(drawable);
  std::string text;
  bool joined = false;
  for (std::size_t i = 0; i < figure.series.size(); ++i) {
    const FigureSeries& series = figure.series[i];
    const FigureStyle style = figure_style(i);
    const std::string name = choice_of(names[i], drawable_names[i], 0);
    joined = joined || (!series.points.empty() && !series.published.empty());
    if (!series.points.empty())
      text +=
          fmt::format(", \\\n  keyentry w linespoints lw 1.6 dt {} pt {} ps PS lc rgb \"{}\" t {}",
                      style.dash, style.filled, style.color, name);
    else if (!series.published.empty())
      text += fmt::format(", \\\n  keyentry w points pt {} ps PS*1.15 lw 1.2 lc rgb \"{}\" t {}",
                          style.hollow, style.color, name);
  }
  if (joined)
    text += fmt::format(
        ", \\\n  keyentry w points pt 6 ps PS*1.15 lw 1.2 lc rgb \"{}\" "
        "t 'hollow: published'",
        kHollowNote);
  return text;
}

/// The plot command: what lies behind comes first, the invisible markers that carry texts last.
std::string plot_command(const Figure& figure, const Figure& drawable) {
  const std::vector<FigureBlock> blocks = blocks_of(figure);
  std::vector<std::string> parts;
  const auto draw = [&](FigureBlock::Kind kind) {
    for (std::size_t i = 0; i < blocks.size(); ++i)
      if (blocks[i].kind == kind) parts.push_back(drawing(blocks[i], i));
  };
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (blocks[i].has_band)
      parts.push_back(
          fmt::format("DATA index {} u 1:3:4 w filledcurves fc rgb \"{}\" fs transparent "
                      "solid 0.15 noborder notitle",
                      i, figure_style(blocks[i].series).color));
  draw(FigureBlock::frontier);
  draw(FigureBlock::chance);
  draw(FigureBlock::published);
  draw(FigureBlock::whiskers);
  draw(FigureBlock::line);
  draw(FigureBlock::points);
  if (parts.empty()) parts.push_back("NaN notitle");
  std::string texts;
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (blocks[i].kind == FigureBlock::points || blocks[i].kind == FigureBlock::published)
      texts += fmt::format(
          ", DATA index {} u 1:2:6 w labels hypertext point pt 7 ps 1.4 lc rgb \"#ff000000\" "
          "notitle",
          i);
  return fmt::format("TEXTS = HOVER ? '{}' : ''\nplot {}{} @TEXTS\n", texts,
                     fmt::join(parts, ", \\\n  "), legend(figure, drawable));
}

}  // namespace

std::string figure_script(const Figure& figure, const std::string& base, const Glyphs& glyphs) {
  const Figure drawable = drawable_figure(figure, glyphs);
  FigureLayout layout = layout_of(figure);
  const FigureLayout other = layout_of(drawable);  // numbers are longer than what they stand for
  layout.right_margin = std::max(layout.right_margin, other.right_margin);
  layout.width = std::max(layout.width, other.width);
  return fmt::format(
             "# Drawn by: gnuplot -e \"FORMAT='svg'\" {0}.gp   (svg, png or pdf), in this folder\n"
             "BASE = \"{0}\"\nDATA = \"{0}.tsv\"\n",
             base) +
         std::string(kSettings) + terminals(layout) + axes(figure, drawable, layout) +
         plot_command(figure, drawable);
}

std::set<std::string> missing_glyphs(const Figure& figure, const Glyphs& glyphs) {
  std::set<std::string> missing;
  for_each_text(figure,
                [&](const std::string& text) { glyphs.add_missing(plain_text(text), missing); });
  return missing;
}

}  // namespace recallbench
