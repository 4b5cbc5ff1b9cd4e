#include "analysis/figure.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

#include "analysis/figure_layout.h"
#include "analysis/gnuplot.h"
#include "analysis/report.h"
#include "tests/analysis/support.h"

namespace recallbench {
namespace {

#define NEEDS_GNUPLOT() \
  if (!gnuplot_available()) GTEST_SKIP() << "gnuplot is not installed (gnuplot-nox)"

const std::vector<std::string> kHostileNames = {
    "plain",
    "quote ' double \" back \\ slash",
    "`touch ran`",
    "'; system('touch ran'); '",
    "$(touch ran)",
    "');alert(1)//",
    "</title><script>alert(1)</script>",
    "<svg onload=alert(1)>",
    "&lt;&amp; & {/:Bold x} a_b^c @d ~e %s %d \\n",
    "two\nlines\n! touch ran",
    "esc \x1b[31m nul",
    "tab\tand # comment",
    "not utf-8 \xFF\xC3",
    "@@0@@ @@1@@",
    "\" . system(\"touch ran\") . \"",
    "Größe 長い名前 and more than fits into the legend",
};

/// Hostile texts wherever a text can stand.
Figure hostile_figure(const std::string& name) {
  Figure figure;
  figure.title = figure.subtitle = figure.caption = figure.x_label = figure.y_label = name;
  figure.series = {
      {name, {{8192, 0.5, 0.4, 0.6, 3, name}, {16384, 0.75, 0.7, 0.8, 3, name}}, {}},
      {name + "2", {{16384, 0.25, 0.25, 0.25, 1, name}}, {{4096, 0.9, 0.9, 0.9, 1, name}}}};
  figure.frontier = {{8192, 0.5, 0, 0, 1, ""}, {16384, 0.75, 0, 0, 1, ""}};
  figure.chance = 0.01;
  return figure;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

std::vector<SummaryRow> many_families(int families) {
  std::vector<SummaryRow> rows;
  for (int f = 0; f < families; ++f)
    for (int size = 0; size < 5; ++size)
      for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        SummaryRow run = make_run("family_" + std::to_string(f), 0.01, seed,
                                  std::min(1.0, 0.1 + 0.06 * f + 0.1 * size + 0.01 * seed));
        run.model += " " + std::to_string(size);
        run.run_id += "-" + std::to_string(size);
        run.setting += "-" + std::to_string(size);
        run.state_bytes = f == 0 && size == 0 ? 0 : (3072 + 100 * f) << (2 * size);
        rows.push_back(run);
      }
  return rows;
}

TEST(Figure, SvgIsTheSameBytesTwice) {
  NEEDS_GNUPLOT();
  const TemporaryFolder a, b;
  FigureOptions options;
  options.formats = {"svg", "png", "pdf"};
  options.published = load_published(default_published_file());
  for (const TemporaryFolder* folder : {&a, &b}) {
    const ReportFiles report =
        write_frontier_and_figure(folder->path(), compute_frontier(many_families(12)), options);
    EXPECT_EQ(report.figure_problem, "");
    EXPECT_EQ(report.files.size(), 6u);
  }
  for (const char* name : {"frontier.svg", "frontier.png", "frontier.pdf", "frontier.gp",
                           "frontier.tsv", "frontier.csv"}) {
    EXPECT_FALSE(read_text(a / name).empty()) << name;
    EXPECT_TRUE(read_text(a / name) == read_text(b / name)) << name;
  }
  EXPECT_EQ(read_text(a / "frontier.png").substr(0, 8), "\x89PNG\r\n\x1a\n");
  EXPECT_EQ(read_text(a / "frontier.pdf").substr(0, 5), "%PDF-");
  // 60 points of ours and 56 published ones name themselves.
  EXPECT_EQ(count(read_text(a / "frontier.svg"), "<g><title>"), 60u + 56u);
}

TEST(Figure, SvgIsValidAndNamesItsRuns) {
  NEEDS_GNUPLOT();
  const TemporaryFolder folder;
  const std::vector<SummaryRow> rows = many_families(3);
  const ReportFiles report =
      write_frontier_and_figure(folder.path(), compute_frontier(rows), FigureOptions());
  ASSERT_EQ(report.figure_problem, "");
  const std::string svg = read_text(folder / "frontier.svg");
  EXPECT_EQ(xml_problem(svg), "");
  for (const SummaryRow& row : rows)
    EXPECT_EQ(count(svg, row.run_id), 1u) << row.run_id;
  EXPECT_EQ(count(svg, "<script"), 0u);
  EXPECT_EQ(count(svg, "onmouse"), 0u);
  EXPECT_EQ(count(svg, "@@"), 0u);
  EXPECT_EQ(count(svg, "gnuplot_plot_1<"), 0u);
  EXPECT_NE(svg.find("45 runs, 3 seeds a point, 0 diverged"), std::string::npos);
}

/// Draws `figure` and checks that nothing but files of its own came of it.
void expect_harmless(const Figure& figure, const std::vector<std::string>& formats,
                     std::size_t points, const std::string& name) {
  const TemporaryFolder folder;
  write_figure_source(figure, folder.path(), "f", Glyphs::installed());
  EXPECT_EQ(draw_figure(figure, folder.path(), "f", formats).size(), formats.size()) << name;
  const std::string svg = read_text(folder / "f.svg");
  EXPECT_EQ(xml_problem(svg), "") << name;
  EXPECT_EQ(count(svg, "<script"), 0u) << name;
  EXPECT_EQ(count(svg, "onmouse"), 0u) << name;
  EXPECT_EQ(count(svg, "<svg"), 1u) << name;
  EXPECT_EQ(count(svg, "<g><title>"), points) << name;
  EXPECT_FALSE(std::filesystem::exists(folder / "ran")) << name;
  const auto files = std::distance(std::filesystem::directory_iterator(folder.path()), {});
  EXPECT_EQ(static_cast<std::size_t>(files), 2 + formats.size()) << name;
}

TEST(Figure, HostileNamesAreShownAndNothingElse) {
  NEEDS_GNUPLOT();
  Figure all;
  for (const std::string& name : kHostileNames) {
    Figure one = hostile_figure(name);
    expect_harmless(one, {"svg"}, 4, name);
    all.series.insert(all.series.end(), one.series.begin(), one.series.end());
    all.title += name;
  }
  expect_harmless(all, {"svg", "png", "pdf"}, 4 * kHostileNames.size(), "all together");
}

TEST(Figure, TextsAppearAsTheyAre) {
  NEEDS_GNUPLOT();
  const TemporaryFolder folder;
  const std::string name = "'' a_b^c {x} `d` \\n @e ~f \"";
  const Figure figure = hostile_figure(name);
  write_figure_source(figure, folder.path(), "f", Glyphs::installed());
  draw_figure(figure, folder.path(), "f", {"svg"});
  const std::string svg = read_text(folder / "f.svg");
  // Title (of the document too), subtitle, caption and two axis labels; in the legend two names,
  // each as text and as title; four points.
  EXPECT_EQ(count(svg, name), 14u);
}

TEST(Figure, BandsDoNotHideTheFrontier) {
  const std::string script = figure_script(hostile_figure("x"), "f", Glyphs({{0x20, 0x7E}}));
  const auto band = script.find("filledcurves"), frontier = script.find("'Pareto frontier'"),
             line = script.find("w lines lw 1.6");
  ASSERT_TRUE(band != std::string::npos && frontier != std::string::npos);
  EXPECT_LT(band, frontier);
  EXPECT_LT(frontier, line);
}

TEST(Figure, TheScriptRunsByHandInItsFolder) {
  NEEDS_GNUPLOT();
  const TemporaryFolder folder;
  const Figure figure = hostile_figure("by hand");
  write_figure_source(figure, folder.path(), "f", Glyphs::installed());
  EXPECT_EQ(run_gnuplot(folder.path(), {"-e", "FORMAT='png'", "f.gp"}), "");
  EXPECT_EQ(read_text(folder / "f.png").substr(1, 3), "PNG");
}

TEST(Figure, FoldersMayHaveAnyName) {
  NEEDS_GNUPLOT();
  const TemporaryFolder folder;
  const std::string odd = folder / "a b'c\"$(touch ran)`touch ran`";
  std::filesystem::create_directory(odd);
  const ReportFiles report =
      write_frontier_and_figure(odd, compute_frontier(many_families(2)), FigureOptions());
  EXPECT_EQ(report.figure_problem, "");
  EXPECT_TRUE(std::filesystem::exists(odd + "/frontier.svg"));
  EXPECT_FALSE(std::filesystem::exists(odd + "/ran"));
}

TEST(Figure, EmptyOneIsDrawnToo) {
  NEEDS_GNUPLOT();
  const TemporaryFolder folder;
  const auto rows = std::vector<SummaryRow>{diverged(make_run("based", 0.01, 1, 0))};
  const ReportFiles report =
      write_frontier_and_figure(folder.path(), compute_frontier(rows), FigureOptions());
  EXPECT_EQ(report.figure_problem, "");
  EXPECT_EQ(xml_problem(read_text(folder / "frontier.svg")), "");
}

TEST(Figure, GnuplotsErrorsAreReported) {
  NEEDS_GNUPLOT();
  const TemporaryFolder folder;
  write_text(folder / "f.gp", "plot nonsense(\n");
  const std::string message =
      message_of(ErrorKind::io, [&] { run_gnuplot(folder.path(), {"f.gp"}); });
  EXPECT_NE(message.find("gnuplot ended with status 1"), std::string::npos) << message;
  EXPECT_NE(message.find("f.gp"), std::string::npos) << message;
}

TEST(FinishSvg, RefusesWhatItDoesNotKnow) {
  const std::string known =
      "<svg><title>Gnuplot</title><g onmousemove=\"gnuplot_svg.showHypertext(evt,'@@0@@')\" "
      "onmouseout=\"gnuplot_svg.hideHypertext()\"><title> </title></g></svg>";
  EXPECT_EQ(finish_svg(known, "x<y", {"a<b>&'\"\nc"}),
            "<svg><title>x&lt;y</title><g><title>a&lt;b&gt;&amp;'\"\nc</title></g></svg>");
  EXPECT_THROW(finish_svg(known, "", {}), Error);
  for (const char* live : {"<svg><script>x</script></svg>", "<svg><g onclick=\"x\"></g></svg>",
                           "<svg><g onmousemove=\"gnuplot_svg.showHypertext(evt,'x')\"></g></svg>",
                           "<svg><a xlink:href=\"javascript:x\"></a></svg>"})
    EXPECT_THROW(finish_svg(live, "", {}), Error) << live;
}

TEST(FinishSvg, NamesFontsThatOtherMachinesHave) {
  EXPECT_EQ(finish_svg("<svg><g font-family=\"DejaVu Sans\" x=\"1\"><text>font-family=\"DejaVu "
                       "Sans\"</text></g><g font-family=\"DejaVu Sans:Bold\"></g></svg>",
                       "", {}),
            "<svg><g font-family=\"DejaVu Sans,Verdana,sans-serif\" x=\"1\"><text>font-family="
            "\"DejaVu Sans\"</text></g><g font-family=\"DejaVu Sans,Verdana,sans-serif\" "
            "font-weight=\"bold\"></g></svg>");
}

TEST(FinishPdf, TakesTheDateOut) {
  EXPECT_EQ(finish_pdf("x /CreationDate (D:20260102030405Z) y"),
            finish_pdf("x /CreationDate (D:20270807060504Z) y"));
  EXPECT_EQ(finish_pdf("no date"), "no date");
  EXPECT_EQ(finish_pdf("/CreationDate (D:2026"), "/CreationDate (D:2000");
}

TEST(Layout, LabelsNeverCrowd) {
  for (int low = 0; low < 24; ++low)
    for (int octaves = 0; octaves < 24; ++octaves) {
      Figure figure;
      figure.series = {{"a", {}, {}}};
      for (const int power : {low, low + octaves})
        figure.series[0].points.push_back({std::exp2(power) * 1.1, 0.5, 0.5, 0.5, 1, ""});
      const FigureLayout layout = layout_of(figure);
      const double span = std::log2(layout.x_max / layout.x_min);
      double last = -1;
      int labels = 0;
      for (const FigureTick& tick : layout.x_ticks) {
        EXPECT_TRUE(tick.place >= layout.x_min && tick.place <= layout.x_max);
        if (tick.label.empty()) continue;
        // "512 Ki" takes about a fourteenth of the axis.
        const double at = std::log2(tick.place / layout.x_min) / span;
        if (last >= 0) {
          EXPECT_GT(at - last, 0.07) << low << " " << octaves;
        }
        last = at;
        ++labels;
      }
      EXPECT_GE(labels, 2) << low << " " << octaves;
    }
}

TEST(Layout, StateZeroHasItsOwnPlace) {
  Figure figure = hostile_figure("x");
  EXPECT_EQ(layout_of(figure).zero_place, 0);
  figure.series[0].points.push_back({0, 0.01, 0.01, 0.01, 1, ""});
  const FigureLayout layout = layout_of(figure);
  EXPECT_GT(layout.zero_place, layout.x_min);
  EXPECT_LT(layout.zero_place, layout.zero_break);
  EXPECT_LT(layout.zero_break, 4096);
  EXPECT_EQ(layout.x_ticks[0].label, "0");
  EXPECT_EQ(place_of(0, layout), layout.zero_place);
  EXPECT_EQ(place_of(512, layout), 512);
}

TEST(Layout, BytesAreShort) {
  EXPECT_EQ(bytes_label(0), "0");
  EXPECT_EQ(bytes_label(512), "512");
  EXPECT_EQ(bytes_label(3072), "3 Ki");
  EXPECT_EQ(bytes_label(1.5 * 1024 * 1024), "1.5 Mi");
}

TEST(Layout, FamiliesLookDifferent) {
  for (std::size_t i = 0; i < 66; ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const FigureStyle a = figure_style(i), b = figure_style(j);
      EXPECT_FALSE(std::string(a.color) == b.color && a.filled == b.filled) << i << " " << j;
    }
}

TEST(Layout, AsManyFamiliesAsTheLargestRecipeHaveColoursOfTheirOwn) {
  std::set<std::string> colors;
  for (std::size_t i = 0; i < 11; ++i)
    EXPECT_TRUE(colors.insert(figure_style(i).color).second) << i;
}

}  // namespace
}  // namespace recallbench
