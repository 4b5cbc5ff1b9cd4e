#include "analysis/report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "analysis/csv.h"
#include "tests/analysis/support.h"

namespace recallbench {
namespace {

SummaryRow sized(const std::string& family, std::int64_t bytes, double accuracy) {
  SummaryRow run = make_run(family, 0.01, 1, accuracy);
  run.model = family + " " + std::to_string(bytes);
  run.run_id += "-" + std::to_string(bytes);
  run.state_bytes = bytes;
  run.state_size = static_cast<double>(bytes);
  return run;
}

std::vector<SummaryRow> sample_rows() {
  std::vector<SummaryRow> rows = {sized("attention", 65536, 1), sized("based", 8192, 0.75),
                                  sized("based", 16384, 0.5), sized("identity", 0, 0.0078125),
                                  diverged(sized("mamba", 4096, 0))};
  rows[1].state_size = 12288;  // against 8192 measured
  rows[2].state_size = SummaryRow::kNone;
  rows[3].state_size = 0.0;
  rows[4].state_size = 4096;
  return rows;
}

bool has_note(const Frontier& frontier, const std::string& text) {
  return std::any_of(frontier.notes.begin(), frontier.notes.end(),
                     [&](const std::string& note) { return note.find(text) != std::string::npos; });
}

TEST(Report, FrontierOfMeasuredState) {
  const Frontier f = compute_frontier(sample_rows());
  ASSERT_EQ(f.tasks.size(), 1u);
  std::vector<std::string> models, kept;
  for (const FrontierEntry& entry : f.tasks[0].entries) {
    models.push_back(entry.point.model);
    if (entry.on_frontier) kept.push_back(entry.point.model);
  }
  EXPECT_EQ(models, (std::vector<std::string>{"identity 0", "based 8192", "based 16384",
                                              "attention 65536", "mamba 4096"}));
  EXPECT_EQ(kept, (std::vector<std::string>{"identity 0", "based 8192", "attention 65536"}));
  EXPECT_EQ(f.runs, 5);
  EXPECT_EQ(f.diverged, 1);
  EXPECT_EQ(f.families, (std::vector<std::string>{"attention", "based", "identity", "mamba"}));
}

TEST(Report, TellsWhatAReaderShouldKnow) {
  std::vector<SummaryRow> rows = sample_rows();
  const Frontier f = compute_frontier(rows);
  EXPECT_TRUE(has_note(f, "differ by more than 5 %: based 8192 (8192 against 12288 bytes)"));
  EXPECT_TRUE(has_note(f, "no run was finished: mamba 4096 (1 diverged, 0 failed)"));
  EXPECT_FALSE(has_note(f, "validation and test"));
  EXPECT_FALSE(has_note(f, "several devices"));
  for (SummaryRow& row : rows)
    row.test_loss = row.valid_loss;
  rows.push_back(rows[0]);
  rows.back().run_id += "-2";
  rows.back().seed = 2;
  const std::string nothing_chosen = frontier_text(compute_frontier(rows));
  EXPECT_EQ(nothing_chosen.find("validation"), std::string::npos) << nothing_chosen;
  rows.back().learning_rate = 0.02;
  rows[0].device = "cuda";
  const Frontier g = compute_frontier(rows, StateAxis::published);
  EXPECT_TRUE(has_note(g, "validation and test data are the same"));
  EXPECT_NE(frontier_text(g).find("; learning rate chosen on validation data"), std::string::npos);
  EXPECT_TRUE(has_note(g, "several devices are together: cpu, cuda"));
  EXPECT_TRUE(has_note(g, "no published formula for the state: based 16384"));
}

TEST(Report, FivePercentIsTheBorder) {
  std::vector<SummaryRow> rows = {sized("based", 10000, 0.5)};
  rows[0].state_size = 9501;
  EXPECT_FALSE(has_note(compute_frontier(rows), "differ"));
  rows[0].state_size = 9499;
  EXPECT_TRUE(has_note(compute_frontier(rows), "differ"));
}

TEST(Report, ThePublishedAxisOrdersByIt) {
  const Frontier f = compute_frontier(sample_rows(), StateAxis::published);
  EXPECT_EQ(f.tasks[0].entries[1].state, 12288);
  const FrontierEntry& left_out = f.tasks[0].entries[3];
  EXPECT_EQ(left_out.point.model, "based 16384");
  EXPECT_FALSE(left_out.on_frontier);
}

TEST(Report, EachTaskHasItsOwnFrontier) {
  std::vector<SummaryRow> rows = {sized("based", 8192, 0.75), sized("based", 16384, 0.5)};
  EXPECT_FALSE(compute_frontier(rows).tasks[0].entries[1].on_frontier);
  rows[1].task = "harder";
  const Frontier f = compute_frontier(rows);
  ASSERT_EQ(f.tasks.size(), 2u);
  EXPECT_TRUE(f.tasks[1].entries[0].on_frontier);
}

TEST(Report, AnUnknownColumnNamesTheNearest) {
  std::vector<SummaryRow> rows = sample_rows();
  rows[0].slices["test/num_kv_pairs/accuracy-8"] = 1;
  const std::string message = message_of(ErrorKind::usage, [&] {
    compute_frontier(rows, StateAxis::measured, "test/num_kv_pair/accuracy-8");
  });
  EXPECT_NE(message.find("did you mean 'test/num_kv_pairs/accuracy-8'?"), std::string::npos);
}

TEST(Report, AColumnWithoutItsSplitIsOneOfTwo) {
  std::vector<SummaryRow> rows = sample_rows();
  rows[0].slices = {{"test/num_kv_pairs/accuracy-8", 1},
                    {"test/num_kv_pairs/accuracy-16", 1},
                    {"valid/num_kv_pairs/accuracy-8", 1}};
  for (const auto& [wanted, hint] :
       {std::pair{"accuracy", "; did you mean 'test/accuracy' or 'valid/accuracy'?"},
        {"num_kv_pairs/accuracy-8",
         "; did you mean 'test/num_kv_pairs/accuracy-8' or 'valid/num_kv_pairs/accuracy-8'?"},
        {"num_kv_pairs/accuracy-16", "; did you mean 'test/num_kv_pairs/accuracy-16'?"},
        {"valid/acuracy", "; did you mean 'valid/accuracy'?"},
        {"loss", "; known: test/accuracy, valid/accuracy, test/num_kv_pairs/accuracy-16, "}}) {
    const std::string message = message_of(ErrorKind::usage, [&, column = std::string(wanted)] {
      compute_frontier(rows, StateAxis::measured, column);
    });
    EXPECT_NE(message.find(hint), std::string::npos) << message;
  }
}

TEST(Report, TablesSayTheSame) {
  const Frontier f = compute_frontier(sample_rows());
  const auto records = parse_csv(to_csv(frontier_table(f)), "frontier.csv");
  ASSERT_EQ(records.size(), 6u);
  EXPECT_EQ(records[0].cells,
            (std::vector<std::string>{"task", "family", "model", "state_bytes", "state_size",
                                      "test_mean", "test_min", "test_max", "test_n", "valid_mean",
                                      "learning_rate", "weight_decay", "on_frontier", "incomplete",
                                      "runs", "diverged", "failed", "seeds", "run_ids"}));
  EXPECT_EQ(records[2].cells[2], "based 8192");
  EXPECT_EQ(records[2].cells[5], "0.75");
  EXPECT_EQ(records[2].cells[12], "yes");
  EXPECT_EQ(records[2].cells[18], "r-based-0.01-1-8192");
  EXPECT_EQ(records[5].cells[5], "");  // mamba diverged
  const Json json = parse_json(frontier_json(f), "f.json", ErrorKind::io);
  EXPECT_EQ(json.at("points").size(), 5u);
  EXPECT_EQ(json.at("points").at(1).at("test_mean").as_double(), 0.75);
  EXPECT_EQ(json.at("diverged").as_int(), 1);
  const std::string text = frontier_text(f);
  EXPECT_NE(text.find("*  based      based 8192       8 Ki   12 Ki      0.7500"), std::string::npos)
      << text;
  EXPECT_NE(text.find("note: no run was finished"), std::string::npos);
}

TEST(Report, AFigureWithoutPointsSaysWhy) {
  const auto caption_of = [](const std::vector<SummaryRow>& rows) {
    const TemporaryFolder folder;
    FigureOptions options;
    options.formats = {};
    write_frontier_and_figure(folder.path(), compute_frontier(rows), options);
    const std::string script = read_text(folder / "frontier.gp");
    const auto begin = script.find("set label 3 \"") + 13;
    return script.substr(begin, script.find("\" at", begin) - begin);
  };
  SummaryRow stateless = sized("based", 8192, 0.75);
  stateless.state_bytes.reset();
  EXPECT_EQ(caption_of({diverged(sized("based", 8192, 0)), diverged(sized("mamba", 8192, 0))}),
            "2 runs, 2 diverged; no run was finished, so there is no point");
  EXPECT_EQ(caption_of({stateless}),
            "1 run, 0 diverged; no finished run has a state, so there is no point");
}

TEST(Report, PointsThatHideOneAnotherAreNamed) {
  const auto notes_of = [](const std::vector<SummaryRow>& rows) {
    const TemporaryFolder folder;
    FigureOptions options;
    options.formats = {};
    return write_frontier_and_figure(folder.path(), compute_frontier(rows), options).notes;
  };
  std::vector<SummaryRow> rows = {
      sized("attention", 8192, 0.9999), sized("based", 8192, 1),
      sized("based", 16384, 1),         sized("mamba", 8192, 0.99),
      sized("identity", 0, 0.25),       diverged(sized("mamba", 16384, 0))};
  using Notes = std::vector<std::string>;
  EXPECT_EQ(notes_of(rows), Notes({"points of several families lie on one another in frontier: "
                                   "based 8192 and attention 8192"}));
  rows.push_back(sized("gla", 0, 0.25));
  EXPECT_EQ(notes_of(rows), Notes({"points of several families lie on one another in frontier: "
                                   "identity 0 and gla 0; based 8192 and attention 8192"}));
  rows.back().task = "harder";
  rows[1].model_name = "attention";  // one family, one marker
  EXPECT_EQ(notes_of(rows), Notes());
}

TEST(Report, NotesSayWhichTaskAModelIsOf) {
  std::vector<SummaryRow> rows = {diverged(sized("based", 8192, 0)), sized("based", 8192, 0.5)};
  rows[0].task = "test 1 mqar(vocab_size=512)";
  rows[1].task = "test 1 mqar(vocab_size=8192)";
  rows[1].run_id += "-2";
  EXPECT_TRUE(has_note(compute_frontier(rows),
                       "no run was finished: based 8192 on mqar, vocab_size 512 (1 diverged"));
}

TEST(Report, HostileNamesReachNoTerminal) {
  std::vector<SummaryRow> rows = {sized("based", 8192, 0.75), diverged(sized("x", 1, 0))};
  rows[0].model_name = rows[0].model = "a\x1b[31m\nb";
  rows[1].model = "c\x1b]0;title\x07";
  const std::string text = frontier_text(compute_frontier(rows));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\x07'), std::string::npos);
}

TEST(Report, WithoutGnuplotAllButTheFigureIsWritten) {
  const TemporaryFolder folder;
  const Environment path("PATH", "/does/not/exist");
  const ReportFiles report =
      write_frontier_and_figure(folder.path(), compute_frontier(sample_rows()), {});
  EXPECT_EQ(report.files, (std::vector<std::string>{folder / "frontier.csv", folder / "frontier.gp",
                                                    folder / "frontier.tsv"}));
  EXPECT_NE(report.figure_problem.find("apt-get install gnuplot-nox"), std::string::npos);
  EXPECT_EQ(read_text(folder / "frontier.csv"),
            to_csv(frontier_table(compute_frontier(sample_rows()))));
}

TEST(Report, AFolderThatIsNotThereIsAnError) {
  const std::string message = message_of(ErrorKind::io, [] {
    write_frontier_and_figure("/does/not/exist", compute_frontier(sample_rows()), {});
  });
  EXPECT_NE(message.find("/does/not/exist"), std::string::npos) << message;
}

}  // namespace
}  // namespace recallbench
