#include <fmt/format.h>

#include "analysis/characters.h"
#include "analysis/figure.h"
#include "analysis/figure_layout.h"

namespace recallbench {
namespace {

/// Rows of one block; `token` numbers the hover texts through all blocks.
std::string block_rows(const Figure& figure, const FigureBlock& block, const FigureLayout& layout,
                       std::size_t& token) {
  std::string text;
  const FigureSeries* series =
      block.series < figure.series.size() ? &figure.series[block.series] : nullptr;
  const auto place = [&](const FigurePoint& p) { return place_of(p.x, layout); };
  const auto points = [&](const std::vector<FigurePoint>& all) {
    for (const FigurePoint& p : all)
      text += fmt::format("{}\t{}\t{}\t{}\t{}\t@@{}@@\t{}\n", place(p), p.y, p.min, p.max, p.n,
                          token++, plain_text(p.hover));
  };
  switch (block.kind) {
    case FigureBlock::frontier:
      for (const FigurePoint& p : figure.frontier)
        text += fmt::format("{}\t{}\n", place(p), p.y);
      return text + fmt::format("{}\t{}\n", layout.x_max, figure.frontier.back().y);
    case FigureBlock::chance:
      return fmt::format("{}\t{}\n{}\t{}\n", layout.x_min, *figure.chance, layout.x_max,
                         *figure.chance);
    case FigureBlock::line:
      for (const FigurePoint& p : line_points(*series))
        text += fmt::format("{}\t{}\t{}\t{}\n", place(p), p.y, p.min, p.max);
      return text;
    case FigureBlock::whiskers:
      for (const FigurePoint& p : whisker_points(*series))
        text += fmt::format("{}\t{}\t{}\n", place(p), p.min, p.max - p.min);
      return text;
    case FigureBlock::points:
      points(series->points);
      return text;
    case FigureBlock::published:
      points(series->published);
      return text;
  }
  return text;
}

const char* columns_of(FigureBlock::Kind kind) {
  switch (kind) {
    case FigureBlock::frontier:
      return "Pareto frontier: state bytes, accuracy";
    case FigureBlock::chance:
      return "chance: state bytes, accuracy";
    case FigureBlock::line:
      return "line and band: state bytes, mean, min, max";
    case FigureBlock::whiskers:
      return "ranges beside the line: state bytes, min, max - min";
    case FigureBlock::points:
      return "points: state bytes, mean, min, max, n, number, model";
    case FigureBlock::published:
      return "published points: state bytes, accuracy, accuracy, accuracy, 1, number, source";
  }
  return "";
}

}  // namespace

std::string figure_data(const Figure& figure) {
  const FigureLayout layout = layout_of(figure);
  std::string text;
  std::size_t token = 0;
  for (const FigureBlock& block : blocks_of(figure)) {
    if (!text.empty()) text += "\n\n";
    const bool of_series = block.kind != FigureBlock::frontier && block.kind != FigureBlock::chance;
    const std::string family =
        of_series ? " of " + plain_text(figure.series[block.series].name) : std::string();
    text += fmt::format("# {}{}\n", columns_of(block.kind), family);
    text += block_rows(figure, block, layout, token);
  }
  return text;
}

std::vector<std::string> hover_texts(const Figure& figure) {
  std::vector<std::string> texts;
  for (const FigureBlock& block : blocks_of(figure)) {
    const bool has_points =
        block.kind == FigureBlock::points || block.kind == FigureBlock::published;
    if (!has_points) continue;
    const FigureSeries& series = figure.series[block.series];
    for (const FigurePoint& p :
         block.kind == FigureBlock::points ? series.points : series.published)
      texts.push_back(p.hover);
  }
  return texts;
}

}  // namespace recallbench
