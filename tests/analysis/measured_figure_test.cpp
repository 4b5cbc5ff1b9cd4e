// The committed figures are those of the committed numbers.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>

#include "analysis/gnuplot.h"
#include "analysis/report.h"
#include "tests/analysis/support.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

/// Figures in results/measured/: "demo/frontier", "based-figure2/frontier-published".
std::vector<std::string> measured_figures() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(RECALLBENCH_SOURCE_DIR "/results/measured"))
    for (const char* base : {"frontier", "frontier-published"})
      if (fs::exists(entry.path() / (std::string(base) + ".svg")))
        names.push_back(entry.path().filename() / base);
  return names;
}

/// What the committed figure is called: its own title, or the sweep's name.
std::string title_of(const std::string& svg) {
  const auto begin = svg.find("<title>") + 7;
  return svg.substr(begin, svg.find("</title>", begin) - begin);
}

/// "Produced by GNUPLOT 5.4 patchlevel 4": another release may draw the same with other bytes.
std::string gnuplot_release(const std::string& svg) {
  const auto at = svg.find("Produced by GNUPLOT");
  return at == std::string::npos ? "" : svg.substr(at, svg.find('\n', at) - at);
}

class MeasuredFigure : public ::testing::TestWithParam<std::string> {
 protected:
  std::string committed(const std::string& ending) const {
    return read_text(RECALLBENCH_SOURCE_DIR "/results/measured/" + GetParam() + ending);
  }
  ReportFiles redraw(const std::string& folder, const std::vector<std::string>& formats) const {
    const bool published = name() == "frontier-published";
    FigureOptions options;
    options.formats = formats;
    options.title = title_of(committed(".svg"));
    if (published) options.published = load_published(default_published_file());
    const fs::path summary = fs::path(RECALLBENCH_SOURCE_DIR "/results/measured/" + GetParam())
                                 .replace_filename("summary.csv");
    return write_frontier_and_figure(
        folder,
        compute_frontier(load_summaries({summary.string()}),
                         published ? StateAxis::published : StateAxis::measured),
        options);
  }
  std::string name() const { return fs::path(GetParam()).filename().string(); }
};

TEST_P(MeasuredFigure, TableScriptAndDataFollowFromTheSummary) {
  const TemporaryFolder folder;
  redraw(folder.path(), {});
  for (const char* ending : {".csv", ".gp", ".tsv"})
    EXPECT_EQ(read_text((folder / name()) + ending), committed(ending)) << ending;
}

TEST_P(MeasuredFigure, SvgIsRedrawnByteForByte) {
  if (!gnuplot_available()) GTEST_SKIP() << "gnuplot is not installed (gnuplot-nox)";
  const TemporaryFolder folder;
  EXPECT_EQ(redraw(folder.path(), {"svg"}).figure_problem, "");
  const std::string drawn = read_text((folder / name()) + ".svg"), kept = committed(".svg");
  ASSERT_NE(gnuplot_release(kept), "");
  if (gnuplot_release(drawn) != gnuplot_release(kept))
    GTEST_SKIP() << "the committed figure was " << gnuplot_release(kept) << ", this one would be "
                 << gnuplot_release(drawn);
  EXPECT_EQ(drawn, kept);
}

INSTANTIATE_TEST_SUITE_P(All, MeasuredFigure, ::testing::ValuesIn(measured_figures()),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

}  // namespace
}  // namespace recallbench
