#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "analysis/glyphs.h"

namespace recallbench {

/// A marker: state in bytes (0 is drawn left of the axis' break), accuracy, its range over seeds.
struct FigurePoint {
  double x = 0, y = 0;
  double min = 0, max = 0;
  std::int64_t n = 1;
  std::string hover;  ///< shown by a viewer of the SVG; lines end with '\n'
};

/// One family: one colour and marker.
struct FigureSeries {
  std::string name;
  std::vector<FigurePoint> points;     ///< filled markers, joined by state
  std::vector<FigurePoint> published;  ///< hollow markers
};

/// What a figure can be drawn as.
inline const std::vector<std::string> kFigureFormats = {"svg", "png", "pdf"};

/// What a title is cut to, by drawn_text().
inline constexpr std::size_t kTitleColumns = 76;

/// State against accuracy. All texts may hold anything: they are shown, never interpreted.
struct Figure {
  std::string title, subtitle, caption, x_label, y_label;
  std::vector<FigureSeries> series;
  std::vector<FigurePoint> frontier;  ///< corners of the step line, by rising state
  std::optional<double> chance;       ///< a dashed line
};

/// The gnuplot script: settings and numbers of this program alone, texts as strings without
/// anything to evaluate. FORMAT (svg, png, pdf) chooses the terminal; without STREAM it writes
/// `<base>.<FORMAT>`. With HOVER the SVG carries "@@n@@" for the n-th hover text. PNG and PDF show
/// the numbers of characters that `glyphs` lacks.
std::string figure_script(const Figure& figure, const std::string& base, const Glyphs& glyphs);

/// The characters of the figure's texts that `glyphs` lacks.
std::set<std::string> missing_glyphs(const Figure& figure, const Glyphs& glyphs);

/// Its data file `<base>.tsv`: blocks that the script takes by index.
std::string figure_data(const Figure& figure);

/// The hover texts in the order of their numbers.
std::vector<std::string> hover_texts(const Figure& figure);

/// Makes gnuplot's SVG quiet: every "@@n@@" handler becomes a <title> with the escaped text, the
/// document is called `title`, no script or handler stays. Throws Error(internal) if one would.
std::string finish_svg(const std::string& svg, const std::string& title,
                       const std::vector<std::string>& hovers);

/// The PDF without the moment at which it was made, so that the same figure has the same bytes.
std::string finish_pdf(std::string pdf);

/// Publishes `<base>.gp` and `<base>.tsv` in `directory`; returns these names. `base` is letters,
/// digits, '-' and '_'. Throws Error(io).
std::vector<std::string> write_figure_source(const Figure& figure, const std::string& directory,
                                             const std::string& base, const Glyphs& glyphs);

/// Runs gnuplot on what write_figure_source left, for each of `formats` (kFigureFormats), and
/// publishes `<base>.<format>`; returns these names. Throws Error(io), also where gnuplot has not
/// drawn one of them after `limit`; what was published stays.
std::vector<std::string> draw_figure(const Figure& figure, const std::string& directory,
                                     const std::string& base,
                                     const std::vector<std::string>& formats,
                                     std::chrono::milliseconds limit = kToolLimit);

}  // namespace recallbench
