#include "analysis/selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/analysis/support.h"

namespace recallbench {
namespace {

/// A run whose validation and test accuracy differ.
SummaryRow run_of(double rate, std::uint64_t seed, double valid, double test) {
  SummaryRow run = make_run("based", rate, seed, valid);
  run.test_accuracy = test;
  return run;
}

ModelPoint only_point(const std::vector<SummaryRow>& rows, const std::string& column = "test") {
  const std::vector<ModelPoint> points = select_points(rows, column);
  EXPECT_EQ(points.size(), 1u);
  return points.at(0);
}

TEST(Statistics, MeanMinMaxAndNumber) {
  const std::vector<double> values = {0.5, 0.25, std::nan(""), 0.75, INFINITY};
  const Statistics s = statistics_of(values);
  EXPECT_EQ(s.mean, 0.5);
  EXPECT_EQ(s.min, 0.25);
  EXPECT_EQ(s.max, 0.75);
  EXPECT_EQ(s.n, 3);
  const Statistics none = statistics_of({});
  EXPECT_EQ(none.n, 0);
  EXPECT_TRUE(std::isnan(none.mean) && std::isnan(none.min) && std::isnan(none.max));
}

TEST(Statistics, DoNotDependOnTheOrder) {
  std::mt19937 engine(5);
  std::vector<double> values(9);
  for (double& value : values)
    value = engine() / 4294967296.0;
  const double mean = statistics_of(values).mean;
  for (int round = 0; round < 100; ++round) {
    std::shuffle(values.begin(), values.end(), engine);
    EXPECT_EQ(statistics_of(values).mean, mean);
  }
  const std::vector<double> same(7, 0.1);
  EXPECT_EQ(statistics_of(same).mean, 0.1);
}

TEST(Selection, ValidationChoosesAndTestReports) {
  // On the test data 1e-3 would look better, and 1e-1 has the best single run.
  const ModelPoint p = only_point({run_of(1e-3, 1, 0.5, 0.9375), run_of(1e-3, 2, 0.5, 0.9375),
                                   run_of(1e-2, 1, 0.75, 0.5), run_of(1e-2, 2, 0.75, 0.75),
                                   run_of(1e-1, 1, 1.0, 1.0), run_of(1e-1, 2, 0.25, 0.25)});
  EXPECT_TRUE(p.has_result);
  EXPECT_EQ(p.learning_rate, 1e-2);
  EXPECT_EQ(p.valid.mean, 0.75);
  EXPECT_EQ(p.result.mean, 0.625);
  EXPECT_EQ(p.result.min, 0.5);
  EXPECT_EQ(p.result.max, 0.75);
  EXPECT_EQ(p.result.n, 2);
  EXPECT_EQ(p.seeds, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(p.run_ids, (std::vector<std::string>{"r-based-0.01-1", "r-based-0.01-2"}));
  EXPECT_EQ(choice_text(p.choice), "learning rate");
  EXPECT_EQ(p.runs, 6);
  EXPECT_FALSE(p.incomplete);
}

TEST(Selection, AnyOtherHyperParameterIsChosenToo) {
  std::vector<SummaryRow> rows = {run_of(1e-2, 1, 0.5, 0.5), run_of(1e-2, 1, 0.75, 0.625)};
  rows[1].run_id = "r-dropout";
  rows[1].setting = "s-dropout";  // differs in nothing that has a column
  const ModelPoint p = only_point(rows);
  EXPECT_EQ(p.run_ids, (std::vector<std::string>{"r-dropout"}));
  EXPECT_EQ(choice_text(p.choice), "settings");
}

TEST(Selection, SaysWhatWasChosen) {
  std::vector<SummaryRow> rows = {run_of(1e-2, 1, 0.5, 0.5)};
  EXPECT_EQ(choice_text(only_point(rows).choice), "");
  rows.push_back(run_of(1e-2, 1, 0.5, 0.5));
  rows[1].run_id = "r-decay";
  rows[1].weight_decay = 0.5;
  EXPECT_EQ(choice_text(only_point(rows).choice), "weight decay");
  rows.push_back(run_of(1e-1, 1, 0.5, 0.5));
  EXPECT_EQ(choice_text(only_point(rows).choice), "learning rate and weight decay");
  rows.push_back(run_of(1e-1, 1, 0.5, 0.5));
  rows[3].run_id = "r-epochs";
  rows[3].setting = "s-epochs";
  EXPECT_EQ(choice_text(only_point(rows).choice), "learning rate, weight decay, other settings");
}

TEST(Selection, DivergedAndFailedRunsNeverWinAndAreCounted) {
  SummaryRow failed = run_of(1e-1, 2, 1, 1);
  failed.status = "failed";
  SummaryRow liar = diverged(run_of(1e-1, 1, 1, 1));
  liar.valid_accuracy = 1;  // what it reached before
  const ModelPoint p =
      only_point({run_of(1e-2, 1, 0.25, 0.25), run_of(1e-2, 2, 0.25, 0.5), liar, failed});
  EXPECT_EQ(p.learning_rate, 1e-2);
  EXPECT_EQ(p.diverged, 1);
  EXPECT_EQ(p.failed, 1);
  EXPECT_EQ(p.runs, 4);
}

TEST(Selection, SurvivorsDoNotBeatAFullSetOfSeeds) {
  const std::vector<SummaryRow> rows = {run_of(1e-2, 1, 0.5, 0.5), run_of(1e-2, 2, 0.5, 0.5),
                                        run_of(1e-2, 3, 0.5, 0.5), run_of(1e-1, 1, 1, 1),
                                        run_of(1e-1, 2, 1, 1),     diverged(run_of(1e-1, 3, 1, 1))};
  const ModelPoint p = only_point(rows);
  EXPECT_EQ(p.learning_rate, 1e-2);
  EXPECT_FALSE(p.incomplete);
  // A seed that was never started counts as one that is missing.
  const ModelPoint q = only_point({rows[0], rows[1], rows[2], rows[3], rows[4]});
  EXPECT_EQ(q.learning_rate, 1e-2);
}

TEST(Selection, IncompleteSeedsAreFlaggedAndMoreOfThemWin) {
  const ModelPoint p = only_point({run_of(1e-2, 1, 0.5, 0.5), run_of(1e-2, 2, 0.5, 0.5),
                                   diverged(run_of(1e-2, 3, 0, 0)), run_of(1e-1, 3, 1, 1)});
  EXPECT_EQ(p.learning_rate, 1e-2);
  EXPECT_TRUE(p.incomplete);
  EXPECT_EQ(p.result.n, 2);
}

TEST(Selection, TiesGoToTheLowerLossThenToTheSmallerRate) {
  SummaryRow slow = run_of(1e-3, 1, 1, 1), fast = run_of(1e-2, 1, 1, 1);
  slow.valid_loss = 0.25;
  fast.valid_loss = 0.125;
  EXPECT_EQ(only_point({slow, fast}).learning_rate, 1e-2);
  slow.valid_loss = 0.125;
  EXPECT_EQ(only_point({slow, fast}).learning_rate, 1e-3);
  EXPECT_EQ(only_point({fast, slow}).learning_rate, 1e-3);
}

TEST(Selection, APointWithoutFinishedRunsStaysVisible) {
  const ModelPoint p = only_point({diverged(run_of(1e-2, 1, 0, 0))});
  EXPECT_FALSE(p.has_result);
  EXPECT_EQ(p.diverged, 1);
  EXPECT_EQ(p.result.n, 0);
  EXPECT_TRUE(std::isnan(p.result.mean));
  EXPECT_EQ(p.state_bytes, 1024);
}

TEST(Selection, NanAccuracyIsNoResult) {
  const ModelPoint p = only_point({run_of(1e-2, 1, std::nan(""), 1), run_of(1e-3, 1, 0.5, 0.25)});
  EXPECT_EQ(p.learning_rate, 1e-3);
}

TEST(Selection, TasksWidthsAndPrecisionsAreSeveralPoints) {
  std::vector<SummaryRow> rows(5, run_of(1e-2, 1, 0.5, 0.5));
  rows[1].task = "mqar(vocab_size=8192)";
  rows[2].d_model = 128;
  rows[3].precision = "bf16";
  rows[4].model = "based feature_dim=16";
  EXPECT_EQ(select_points(rows).size(), 5u);
}

TEST(Selection, OtherColumnsAreReportedForTheSameChoice) {
  std::vector<SummaryRow> rows = {run_of(1e-2, 1, 0.5, 0.75), run_of(1e-1, 1, 0.25, 1)};
  const std::string slice = slice_column("test", "num_kv_pairs", 8);
  rows[0].slices[slice] = 0.125;
  rows[1].slices[slice] = 0.875;
  EXPECT_EQ(only_point(rows, "valid").result.mean, 0.5);
  EXPECT_EQ(only_point(rows, slice).result.mean, 0.125);
  EXPECT_EQ(only_point(rows, slice_column("test", "num_kv_pairs", 9)).result.n, 0);
  EXPECT_THROW(select_points(rows, "accuracy"), Error);
}

TEST(Selection, RefusesWhatCannotBeOneModelOrOneRun) {
  std::vector<SummaryRow> rows = {run_of(1e-2, 1, 0.5, 0.5), run_of(1e-2, 1, 0.5, 0.5)};
  rows[1].run_id = "r-other";
  const std::string twice = message_of(ErrorKind::io, [&] { select_points(rows); });
  EXPECT_NE(twice.find("r-other"), std::string::npos) << twice;
  EXPECT_NE(twice.find("one setting and one seed"), std::string::npos) << twice;
  rows[1].seed = 2;
  rows[1].state_bytes = 2048;
  const std::string states = message_of(ErrorKind::io, [&] { select_points(rows); });
  EXPECT_NE(states.find("1024 and 2048 bytes"), std::string::npos) << states;
}

}  // namespace
}  // namespace recallbench
