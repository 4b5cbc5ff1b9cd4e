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

/// Names of the folders in results/measured/ that hold a figure.
std::vector<std::string> measured_sweeps() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(RECALLBENCH_SOURCE_DIR "/results/measured"))
    if (fs::exists(entry.path() / "frontier.svg")) names.push_back(entry.path().filename());
  return names;
}

/// "Produced by GNUPLOT 5.4 patchlevel 4": another release may draw the same with other bytes.
std::string gnuplot_release(const std::string& svg) {
  const auto at = svg.find("Produced by GNUPLOT");
  return at == std::string::npos ? "" : svg.substr(at, svg.find('\n', at) - at);
}

class MeasuredFigure : public ::testing::TestWithParam<std::string> {
 protected:
  std::string committed(const std::string& file) const {
    return read_text(RECALLBENCH_SOURCE_DIR "/results/measured/" + GetParam() + "/" + file);
  }
  ReportFiles redraw(const std::string& folder, const std::vector<std::string>& formats) const {
    FigureOptions options;
    options.formats = formats;
    return write_frontier_and_figure(
        folder,
        compute_frontier(load_summaries(
            {RECALLBENCH_SOURCE_DIR "/results/measured/" + GetParam() + "/summary.csv"})),
        options);
  }
};

TEST_P(MeasuredFigure, TableScriptAndDataFollowFromTheSummary) {
  const TemporaryFolder folder;
  redraw(folder.path(), {});
  for (const char* file : {"frontier.csv", "frontier.gp", "frontier.tsv"})
    EXPECT_EQ(read_text(folder / file), committed(file)) << file;
}

TEST_P(MeasuredFigure, SvgIsRedrawnByteForByte) {
  if (!gnuplot_available()) GTEST_SKIP() << "gnuplot is not installed (gnuplot-nox)";
  const TemporaryFolder folder;
  EXPECT_EQ(redraw(folder.path(), {"svg"}).figure_problem, "");
  const std::string drawn = read_text(folder / "frontier.svg"), kept = committed("frontier.svg");
  ASSERT_NE(gnuplot_release(kept), "");
  if (gnuplot_release(drawn) != gnuplot_release(kept))
    GTEST_SKIP() << "the committed figure was " << gnuplot_release(kept) << ", this one would be "
                 << gnuplot_release(drawn);
  EXPECT_EQ(drawn, kept);
}

INSTANTIATE_TEST_SUITE_P(All, MeasuredFigure, ::testing::ValuesIn(measured_sweeps()),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

}  // namespace
}  // namespace recallbench
