// What a gnuplot that fails, or stops in the middle, leaves behind: no broken figure.
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "analysis/report.h"
#include "tests/analysis/support.h"

namespace recallbench {
namespace {

/// Draws with a gnuplot that is `script`, run by the shell; FORMAT is among its arguments.
class StandIn {
 public:
  ReportFiles draw(const std::string& script, std::chrono::milliseconds limit = kToolLimit) {
    write_text(programs_ / "gnuplot", "#!/bin/sh\n" + script);
    std::filesystem::permissions(programs_ / "gnuplot", std::filesystem::perms::owner_all);
    const Environment path("PATH", programs_.path() + ":" + std::getenv("PATH"));
    FigureOptions options;
    options.tool_limit = limit;
    options.formats = {"svg", "png", "pdf"};
    return write_frontier_and_figure(folder_.path(),
                                     compute_frontier({make_run("based", 0.01, 1, 0.5)}), options);
  }
  bool has(const std::string& name) const { return std::filesystem::exists(folder_ / name); }

 private:
  TemporaryFolder programs_, folder_;
};

constexpr const char* kSvg = "case \"$*\" in *svg*) printf '<svg></svg>\\n'; exit 0;; esac\n";

TEST(FailingGnuplot, HalfAFigureIsNoFigure) {
  for (const char* script :
       {"exit 0", "printf '<svg>'", "printf '\\211PNG\\r\\n'", "printf '%%PDF-1.5 half'"}) {
    StandIn gnuplot;
    const ReportFiles report = gnuplot.draw(script);
    EXPECT_NE(report.figure_problem.find("gnuplot ended before the SVG was whole"),
              std::string::npos)
        << report.figure_problem;
    EXPECT_EQ(report.files.size(), 3u) << script;
    for (const char* file : {"frontier.svg", "frontier.png", "frontier.pdf"})
      EXPECT_FALSE(gnuplot.has(file)) << script << " " << file;
  }
}

TEST(FailingGnuplot, WhatItDrewIsKeptAndNamed) {
  StandIn gnuplot;
  const std::string png = "*png*) echo 'unknown terminal' >&2; exit 1;; ";
  const ReportFiles report = gnuplot.draw(std::string(kSvg) + "case \"$*\" in " + png +
                                          "*pdf*) printf '%%PDF-1.5\\n%%%%EOF\\n';; esac\n");
  EXPECT_NE(report.figure_problem.find("ended with status 1: unknown terminal"), std::string::npos)
      << report.figure_problem;
  ASSERT_EQ(report.files.size(), 5u);
  EXPECT_EQ(std::filesystem::path(report.files[3]).filename(), "frontier.svg");
  EXPECT_EQ(std::filesystem::path(report.files[4]).filename(), "frontier.pdf");
  EXPECT_TRUE(gnuplot.has("frontier.svg") && gnuplot.has("frontier.pdf"));
  EXPECT_FALSE(gnuplot.has("frontier.png"));
}

TEST(FailingGnuplot, FiguresThatAreLeftFromBeforeAreNamed) {
  StandIn gnuplot;
  EXPECT_EQ(gnuplot.draw(std::string(kSvg) + "printf '%%PDF-1.5\\n%%%%EOF\\n'").files.size(), 5u);
  const std::string problem = gnuplot.draw("exit 1").figure_problem;
  EXPECT_NE(problem.find("; left from an earlier plot: frontier.svg, frontier.pdf"),
            std::string::npos)
      << problem;
}

TEST(FailingGnuplot, MessagesAreWholeSentences) {
  const std::string killed = StandIn().draw("kill -9 $$").figure_problem;
  EXPECT_NE(killed.find("gnuplot was ended by signal 9, without a message"), std::string::npos)
      << killed;
}

TEST(FailingGnuplot, OneThatHangsIsEndedAndNotStartedAgain) {
  using namespace std::chrono;
  for (const char* script :
       {"exec sleep 100", "exec >&- 2>&-\nexec sleep 100", "sleep 5 &\nprintf '<svg></svg>'"}) {
    StandIn gnuplot;
    EXPECT_EQ(gnuplot.draw(std::string(kSvg) + "exit 1").files.size(), 4u);
    const auto began = steady_clock::now();
    const ReportFiles report = gnuplot.draw(script, seconds(1));
    EXPECT_LT(steady_clock::now() - began, seconds(3)) << script;
    EXPECT_EQ(report.figure_problem,
              "[figure] gnuplot did not end within 1 s and was killed, without a message; run "
              "'recallbench plot' on the same folder to try again; left from an earlier plot: "
              "frontier.svg");
    EXPECT_EQ(report.files.size(), 3u) << script;
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << script;
    EXPECT_EQ(errno, ECHILD) << script;
  }
}

}  // namespace
}  // namespace recallbench
