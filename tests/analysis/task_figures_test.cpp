// Results of several tasks: each has a figure that says which task it is of.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "analysis/report.h"
#include "tests/analysis/support.h"

namespace recallbench {
namespace {

std::string mqar(int vocabulary, int length, int pairs) {
  const std::string segment = "mqar(filler=\"uniform\",input_seq_len=" + std::to_string(length) +
                              ",num_kv_pairs=" + std::to_string(pairs) +
                              ",vocab_size=" + std::to_string(vocabulary) + ")";
  return "train 6400 " + segment + "; test 300 " + segment;
}

/// One run on each task.
std::vector<SummaryRow> rows_of(const std::vector<std::string>& tasks) {
  std::vector<SummaryRow> rows;
  for (const std::string& task : tasks) {
    rows.push_back(make_run("based", 0.01, 1, 0.5));
    rows.back().run_id += "-" + std::to_string(rows.size());
    rows.back().task = task;
  }
  return rows;
}

/// The titles in the scripts that a plot of `tasks` writes, by file name.
std::map<std::string, std::string> titles_of(const std::vector<std::string>& tasks) {
  const TemporaryFolder folder;
  FigureOptions options;
  options.title = "T";
  options.formats = {};
  std::map<std::string, std::string> titles;
  const ReportFiles report =
      write_frontier_and_figure(folder.path(), compute_frontier(rows_of(tasks)), options);
  for (const std::string& file : report.files) {
    if (file.substr(file.size() - 3) != ".gp") continue;
    const std::string script = read_text(file);
    const auto at = script.find("set label 1 ") + 12;
    titles[std::filesystem::path(file).filename()] =
        script.substr(at, script.find(" at ", at) - at);
  }
  return titles;
}

using Titles = std::map<std::string, std::string>;

TEST(TaskFigures, OneTaskNeedsNoName) {
  EXPECT_EQ(titles_of({mqar(512, 64, 4)}), (Titles{{"frontier.gp", "\"T\""}}));
}

TEST(TaskFigures, SayWhatSetsTheirTasksApart) {
  EXPECT_EQ(titles_of({mqar(512, 64, 4), mqar(8192, 64, 4)}),
            (Titles{{"frontier-mqar-vocab_size-512.gp", "\"T: mqar, vocab\\137size 512\""},
                    {"frontier-mqar-vocab_size-8192.gp", "\"T: mqar, vocab\\137size 8192\""}}));
  EXPECT_EQ(titles_of({mqar(512, 64, 4), mqar(512, 128, 8)}),
            (Titles{{"frontier-mqar-input_seq_len-64-num_kv_pairs-4.gp",
                     "\"T: mqar, input\\137seq\\137len 64, num\\137kv\\137pairs 4\""},
                    {"frontier-mqar-input_seq_len-128-num_kv_pairs-8.gp",
                     "\"T: mqar, input\\137seq\\137len 128, num\\137kv\\137pairs 8\""}}));
}

TEST(TaskFigures, SayOfWhichSeedTheirDataAre) {
  const std::string task = mqar(512, 64, 4);
  EXPECT_EQ(titles_of({task + "; test_seed 1", task + "; test_seed 7"}),
            (Titles{{"frontier-mqar-test_seed-1.gp", "\"T: mqar, test\\137seed 1\""},
                    {"frontier-mqar-test_seed-7.gp", "\"T: mqar, test\\137seed 7\""}}));
}

TEST(TaskFigures, OfTasksWithNamesOfTheirOwnSayThose) {
  const std::string other =
      "train 10 npy(inputs=\"a; test (b)\"); test 10 npy(inputs=\"a; test (b)\")";
  EXPECT_EQ(titles_of({mqar(512, 64, 4), other}),
            (Titles{{"frontier-mqar.gp", "\"T: mqar\""}, {"frontier-npy.gp", "\"T: npy\""}}));
}

TEST(TaskFigures, AreDistinctWhateverTheTasks) {
  const std::string a = "1 x(k=1)", b = "1 x(k=2)";
  EXPECT_EQ(titles_of({"test " + a + " + " + b, "test " + b + " + " + a}),
            (Titles{{"frontier-x-1.gp", "\"T: x (1)\""}, {"frontier-x-2.gp", "\"T: x (2)\""}}));
  EXPECT_EQ(titles_of({"train 7 x(k=1); test 1 x(k=1)", "train 8 x(k=1); test 1 x(k=1)"}),
            (Titles{{"frontier-x-train-num_examples-7.gp", "\"T: x, train num\\137examples 7\""},
                    {"frontier-x-train-num_examples-8.gp", "\"T: x, train num\\137examples 8\""}}));
  for (const auto& tasks : {std::vector<std::string>{"長い", "短い", ""},
                            {"test 1 x(", "test 1 x(=)", "test x()", ";", "test 1 x(k=\"\\"},
                            {"A", "a", "?", "-", " ", "\n", std::string(300, 'x') + "1",
                             std::string(300, 'x') + "2"}}) {
    const Titles titles = titles_of(tasks);
    EXPECT_EQ(titles.size(), tasks.size());
    std::map<std::string, int> seen;
    for (const auto& [file, title] : titles)
      EXPECT_EQ(++seen[title], 1) << title;
  }
}

TEST(TaskFigures, ATitleOfAnyLengthLeavesRoomForTheTask) {
  const TemporaryFolder folder;
  FigureOptions options;
  options.title = std::string(200, 'S');
  options.formats = {};
  write_frontier_and_figure(
      folder.path(), compute_frontier(rows_of({mqar(512, 64, 4), mqar(8192, 64, 4)})), options);
  const std::string script = read_text(folder / "frontier-mqar-vocab_size-8192.gp");
  EXPECT_NE(script.find("S\u2026: mqar, vocab\\137size 8192\" at"), std::string::npos) << script;
}

TEST(TaskFigures, AnEarlierFigureOfOneTaskIsNamed) {
  const TemporaryFolder folder;
  FigureOptions options;
  options.formats = {};
  const Frontier two = compute_frontier(rows_of({mqar(512, 64, 4), mqar(8192, 64, 4)}));
  EXPECT_TRUE(write_frontier_and_figure(folder.path(), two, options).notes.empty());
  write_text(folder / "frontier.png", "");
  const ReportFiles report = write_frontier_and_figure(folder.path(), two, options);
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_EQ(report.notes[0], "left from an earlier plot of one task: frontier.png");
}

TEST(TaskFigures, EarlierFiguresOfOtherFormatsAreNamed) {
  const TemporaryFolder folder;
  FigureOptions options;
  options.formats = {};
  const Frontier one = compute_frontier(rows_of({mqar(512, 64, 4)}));
  EXPECT_TRUE(write_frontier_and_figure(folder.path(), one, options).notes.empty());
  for (const char* file : {"frontier.png", "frontier.pdf", "frontier-valid.png"})
    write_text(folder / file, "");
  const ReportFiles report = write_frontier_and_figure(folder.path(), one, options);
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_EQ(
      report.notes[0],
      "left from an earlier plot: frontier.png, frontier.pdf; without --format all are drawn");
}

TEST(TaskFigures, TheTableNamesTheTasksLikewise) {
  const std::string text =
      frontier_text(compute_frontier(rows_of({mqar(512, 64, 4), mqar(8192, 64, 4)})));
  EXPECT_EQ(text.substr(0, text.find('\n')), "mqar, vocab_size 512") << text;
  EXPECT_NE(text.find("\nmqar, vocab_size 8192\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace recallbench
