// The legend: every family under a name of its own, all of it on the canvas.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "analysis/figure_layout.h"
#include "analysis/gnuplot.h"
#include "analysis/report.h"
#include "tests/analysis/support.h"

namespace recallbench {
namespace {

#define NEEDS_GNUPLOT() \
  if (!gnuplot_available()) GTEST_SKIP() << "gnuplot is not installed (gnuplot-nox)"

/// One run of each family, by rising state and accuracy.
std::vector<SummaryRow> one_of_each(const std::vector<std::string>& families) {
  std::vector<SummaryRow> rows;
  for (const std::string& family : families) {
    rows.push_back(make_run(family, 0.01, 1, 0.5 + 0.001 * static_cast<double>(rows.size())));
    rows.back().state_bytes = 1024 * (1 + static_cast<std::int64_t>(rows.size()));
  }
  return rows;
}

std::vector<std::string> numbered(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i)
    names.push_back("family_" + std::to_string(i));
  return names;
}

/// An SVG's canvas and where it writes a text.
struct Drawing {
  std::string svg;
  double width = 0, height = 0;

  explicit Drawing(const std::vector<std::string>& families, const FigureOptions& options) {
    const TemporaryFolder folder;
    write_frontier_and_figure(folder.path(), compute_frontier(one_of_each(families)), options);
    svg = read_text(folder / "frontier.svg");
    EXPECT_EQ(
        std::sscanf(svg.c_str() + svg.find("viewBox="), "viewBox=\"0 0 %lf %lf\"", &width, &height),
        2);
  }
  std::pair<double, double> place_of(const std::string& text) const {
    const auto at = svg.find("<text>" + text + "</text>");
    EXPECT_NE(at, std::string::npos) << text;
    double x = 0, y = 0;
    if (at != std::string::npos) {
      const char* place = svg.c_str() + svg.rfind("translate(", at);
      EXPECT_EQ(std::sscanf(place, "translate(%lf,%lf)", &x, &y), 2);
    }
    return {x, y};
  }
};

FigureOptions with_published() {
  FigureOptions options;
  options.published = load_published(default_published_file());
  options.formats = {"svg"};
  return options;
}

TEST(Legend, IsOneColumnInsideTheCanvas) {
  NEEDS_GNUPLOT();
  for (const int families : {1, 5, 12, 20}) {
    const Drawing drawing(numbered(families), with_published());
    std::vector<std::string> names = {"Pareto frontier", "chance", "GLA (published)",
                                      "Hyena (published)"};
    for (const std::string& name : numbered(families))
      names.push_back(name);
    std::set<double> columns;
    for (const std::string& name : names) {
      const auto [x, y] = drawing.place_of(name);
      columns.insert(x);
      EXPECT_LT(x + 8.0 * static_cast<double>(name.size()), drawing.width) << name;
      EXPECT_LT(y, drawing.height - 50) << name;
    }
    EXPECT_EQ(columns.size(), 1u);
  }
}

TEST(Legend, OfManyFamiliesHasSeveralColumnsOnACanvasOfUsualShape) {
  NEEDS_GNUPLOT();
  for (const int families : {40, 100, 300}) {
    const Drawing drawing(numbered(families), with_published());
    EXPECT_LT(drawing.height, 1.5 * drawing.width) << families;
    std::set<std::pair<double, double>> places;
    for (const std::string& name : numbered(families)) {
      const auto [x, y] = drawing.place_of(name);
      places.insert({x, y});
      EXPECT_LT(x + 8.0 * static_cast<double>(name.size()), drawing.width) << name;
      EXPECT_LT(y, drawing.height - 50) << name;
    }
    EXPECT_EQ(places.size(), static_cast<std::size_t>(families));
  }
}

TEST(Legend, LeavesRoomForWideLetters) {
  NEEDS_GNUPLOT();
  const std::string wide(27, 'W');
  FigureOptions options;
  options.formats = {"svg"};
  const Drawing drawing({wide, "based"}, options);
  // DejaVu Sans at 12 points: a W is 11.9 units wide.
  EXPECT_LT(drawing.place_of(wide).first + 11.9 * 27, drawing.width);
}

TEST(Legend, NamesTooLongForItStayDistinct) {
  NEEDS_GNUPLOT();
  const std::string common(200, 'x');
  FigureOptions options;
  options.formats = {"svg"};
  const Drawing drawing({common + " small", common + " large"}, options);
  EXPECT_NE(drawing.svg.find("x\u2026xxxxxxx small</text>"), std::string::npos);
  EXPECT_NE(drawing.svg.find("x\u2026xxxxxxx large</text>"), std::string::npos);
}

TEST(Legend, TitlesOfWideLettersEndOnTheCanvas) {
  NEEDS_GNUPLOT();
  FigureOptions options;
  options.formats = {"svg"};
  for (const char letter : {'W', 'm', 'S', 'x', 'i'}) {
    options.title = std::string(200, letter);
    const Drawing drawing({"based"}, options);
    const auto end = drawing.svg.find("\u2026</text>");
    ASSERT_NE(end, std::string::npos);
    const auto begin = drawing.svg.rfind("<text>", end) + 6;
    const std::string shown = drawing.svg.substr(begin, end - begin) + "\u2026";
    const double letter_width = letter == 'W'   ? 13.3
                                : letter == 'm' ? 12.5
                                : letter == 'S' ? 8.7
                                                : 7.8;
    EXPECT_LT(drawing.place_of(shown).first + letter_width * static_cast<double>(end - begin + 1),
              drawing.width)
        << letter;
  }
}

TEST(Legend, TablesTellLongNamesApart) {
  const std::string common(200, 'x');
  const std::string text =
      frontier_text(compute_frontier(one_of_each({common + "1", common + "2"})));
  EXPECT_NE(text.find("x1 "), std::string::npos) << text;
  EXPECT_NE(text.find("x2 "), std::string::npos) << text;
}

}  // namespace
}  // namespace recallbench
