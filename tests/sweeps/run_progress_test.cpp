#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>

#include "kernels/base/error.h"
#include "sweeps/run/messages.h"
#include "sweeps/run/progress.h"
#include "sweeps/run/schedule.h"
#include "tests/process/process.h"

namespace recallbench {
namespace {

WorkerMessage message_at(std::int64_t step) {
  WorkerMessage message;
  message.progress = {step / 10, 4, step % 10, 10, 52300};
  message.accuracy = 0.8731;
  return message;
}

RunView view_at(std::int64_t step) {
  RunView run;
  run.label = "based lr=0.01 seed=1";
  run.started = run.first_message = 100;
  run.last = message_at(step);
  run.accuracy = 0.8731;
  return run;
}

TEST(Messages, RoundTrip) {
  const auto back = decode_message(encode_message(message_at(17)));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->progress.epoch, 1);
  EXPECT_EQ(back->progress.step, 7);
  EXPECT_EQ(fraction_of(back->progress), 17.0 / 40);
  EXPECT_EQ(*back->accuracy, 0.8731);
  WorkerMessage unknown = message_at(3);
  unknown.progress.tokens_per_s = std::nan("");
  EXPECT_TRUE(std::isnan(decode_message(encode_message(unknown))->progress.tokens_per_s));
}

TEST(Messages, AnythingElseIsNoMessage) {
  for (const char* line : {"", "{", "[]", "hello", "{\"epoch\":1}", "{\"epoch\":\"x\"}"})
    EXPECT_FALSE(decode_message(line).has_value()) << line;
}

TEST(ProgressText, Durations) {
  EXPECT_EQ(duration_text(7.4), "0:07");
  EXPECT_EQ(duration_text(725), "12:05");
  EXPECT_EQ(duration_text(7390), "2:03:10");
  EXPECT_EQ(duration_text(99 * 3600), "99:00:00");
  EXPECT_EQ(duration_text(100 * 3600), "4.2 days");
  EXPECT_EQ(duration_text(3e8), "3472 days");
  EXPECT_EQ(duration_text(HUGE_VAL), "-");
  EXPECT_EQ(duration_text(std::nan("")), "-");
  EXPECT_EQ(duration_text(-1), "-");
}

TEST(ProgressText, ShortNumbers) {
  EXPECT_EQ(short_number(873), "873");
  EXPECT_EQ(short_number(52300), "52.3k");
  EXPECT_EQ(short_number(999.9), "1k");
  EXPECT_EQ(short_number(1.2e6), "1.2M");
  EXPECT_EQ(short_number(3.5e14), "350T");
  EXPECT_EQ(short_number(std::nan("")), "-");
}

TEST(ProgressText, RunLineTellsEpochAccuracySpeedAndTime) {
  TextStyle style;
  style.width = 120;
  EXPECT_EQ(run_line(view_at(20), 130, 20, style),
            "based lr=0.01 seed=1  ############------------  epoch 3/4  acc 0.873  52.3k tok/s  "
            "   0:30 left");
}

TEST(ProgressText, LinesNeverReachTheEdge) {
  for (int width = 1; width < 150; ++width) {
    TextStyle style;
    style.width = width;
    EXPECT_LT(run_line(view_at(20), 130, 20, style).size(), static_cast<std::size_t>(width))
        << width;
  }
}

TEST(ProgressText, ResumedRunsCountTheirOwnSpeed) {
  RunView run = view_at(30);
  run.first_fraction = 0.5;  // 20 of 40 steps were there; 10 took 30 s
  TextStyle style;
  EXPECT_NE(run_line(run, 130, 20, style).find("0:30 left"), std::string::npos);
}

TEST(ProgressText, ControlCharactersDoNotPass) {
  EXPECT_EQ(fit_text("a\x1b[31mb\n", 80), "a?[31mb?");
  EXPECT_EQ(fit_text("abcdefgh", 5), "abc..");
}

TEST(ProgressText, Counts) {
  SweepCounts counts;
  counts.total = 120;
  counts.done = 37;
  counts.failed = 2;
  counts.running = 4;
  EXPECT_EQ(counts_line(counts, 842, 1900),
            "37/120 runs done, 2 failed, 4 running, 77 left  14:02, about 31:40 left");
}

/// What a Progress writes, through a pipe.
std::string plain_output(ProgressStyle style, const std::function<void(Progress&)>& use) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  {
    Progress progress(style, false, ends[1]);
    use(progress);
  }
  close(ends[1]);
  std::string text(1 << 16, '\0');
  const ssize_t count = read(ends[0], text.data(), text.size());
  close(ends[0]);
  return text.substr(0, static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
}

TEST(Progress, PlainIsOneLineIn30Seconds) {
  const std::string text = plain_output(ProgressStyle::plain, [](Progress& progress) {
    SweepCounts counts;
    counts.total = 5;
    progress.begin(counts, 100, 0);
    progress.run_started(0, "a", 0);
    for (int tenth = 0; tenth < 950; ++tenth) {
      progress.run_message(0, message_at(tenth % 40), tenth * 0.1);
      progress.tick(tenth * 0.1);
    }
    progress.run_ended(0);
    progress.note("[1/5] done a", 95);
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\r'), std::string::npos);
}

TEST(Progress, NoneIsSilent) {
  EXPECT_EQ(plain_output(ProgressStyle::none,
                         [](Progress& progress) {
                           progress.begin({}, 100, 0);
                           progress.note("x", 1);
                           progress.tick(100);
                         }),
            "");
}

TEST(Progress, BarsRedrawAtMostTenTimesASecondAndGo) {
  int master = -1, terminal = -1;
  winsize size{24, 60, 0, 0};
  ASSERT_EQ(openpty(&master, &terminal, nullptr, nullptr, &size), 0);
  fcntl(master, F_SETFL, O_NONBLOCK);
  std::string text;
  const auto collect = [&] {
    char chunk[4096];
    for (ssize_t count; (count = read(master, chunk, sizeof(chunk))) > 0;)
      text.append(chunk, static_cast<std::size_t>(count));
  };
  {
    Progress progress(ProgressStyle::bar, false, terminal);
    progress.begin({}, 100, 0);
    progress.run_started(0, "a run with a label that is longer than the line", 0);
    for (int i = 0; i < 200; ++i) {
      progress.run_message(0, message_at(i % 40), i * 0.005);
      progress.tick(i * 0.005);
      collect();
    }
    progress.end();
    collect();
  }
  close(terminal);
  close(master);
  std::size_t redraws = 0;
  for (std::size_t at = 0; (at = text.find("runs done", at)) != std::string::npos; ++at)
    ++redraws;
  EXPECT_GE(redraws, 9u);
  EXPECT_LE(redraws, 11u);
  EXPECT_TRUE(text.ends_with("\x1b[2A\r\x1b[J")) << text.substr(text.size() - 40);
}

TEST(Progress, EnvironmentChooses) {
  for (const auto& [value, style] :
       std::map<std::string, ProgressStyle>{{"bar", ProgressStyle::bar},
                                            {"plain", ProgressStyle::plain},
                                            {"none", ProgressStyle::none}}) {
    setenv("RECALLBENCH_PROGRESS", value.c_str(), 1);
    EXPECT_EQ(choose_progress(false), style);
    EXPECT_EQ(choose_progress(true), ProgressStyle::none);
  }
  setenv("RECALLBENCH_PROGRESS", "bars", 1);
  EXPECT_THROW(choose_progress(false), Error);
  unsetenv("RECALLBENCH_PROGRESS");
}

TEST(Schedule, LongestFirstAndCoresShared) {
  EXPECT_EQ(longest_first({1, 3, 2, 3}), (std::vector<std::size_t>{1, 3, 2, 0}));
  EXPECT_EQ(threads_for_next(8, 1), 8);
  EXPECT_EQ(threads_for_next(8, 3), 3);
  EXPECT_EQ(threads_for_next(5, 2), 3);
  EXPECT_EQ(threads_for_next(8, 8), 1);
  EXPECT_EQ(threads_for_next(1, 100), 1);
}

TEST(Schedule, WorkGrowsWithEveryDimension) {
  RunConfig small;
  small.task.train = {{"mqar", {{"input_seq_len", std::int64_t{64}}}, 100, ""}};
  const double work = estimated_work(small);
  EXPECT_GT(work, 0);
  RunConfig longer = small, wider = small, more = small, later = small;
  longer.task.train[0].options["input_seq_len"] = std::int64_t{128};
  wider.model.d_model *= 2;
  more.task.train[0].num_examples *= 2;
  later.train.max_epochs *= 2;
  EXPECT_GT(estimated_work(longer), work);
  EXPECT_GT(estimated_work(wider), work);
  EXPECT_EQ(estimated_work(more), 2 * work);
  EXPECT_EQ(estimated_work(later), 2 * work);
}

TEST(Schedule, WorkHasEveryPassOverTheData) {
  const std::vector<SegmentConfig> train = {
      {"mqar", {{"input_seq_len", std::int64_t{64}}}, 100, ""}};
  RunConfig run;
  run.task.train = train;
  run.train.max_epochs = 5;
  const double forward = estimated_work(run) / 15;  // and as much again twice, backwards
  run.task.test = train;
  EXPECT_DOUBLE_EQ(estimated_work(run), (15 + 5 + 1) * forward);
  run.task.valid = train;
  run.task.valid[0].num_examples *= 2;
  EXPECT_DOUBLE_EQ(estimated_work(run), (15 + 10 + 1) * forward);
  run.task.valid.clear();
  run.model.zoology = true;
  EXPECT_DOUBLE_EQ(estimated_work(run), (15 + 5) * forward);
}

TEST(Schedule, ShortStepsTrainInLargePopulations) {
  RunConfig run;
  run.model.d_model = 128;
  run.task.train_batch_size = 32;
  run.task.train = {
      {"mqar", {{"input_seq_len", std::int64_t{32}}, {"num_kv_pairs", std::int64_t{4}}}, 1000, ""}};
  EXPECT_EQ(population_size(run, Device::cpu), 1);
  EXPECT_EQ(population_size(run, Device::cuda), 12);
  run.task.train_batch_size = 256;  // a step of 0.1 ms by the model's operations
  run.task.train[0].options["input_seq_len"] = std::int64_t{64};
  run.model.vocab_size = 8192;
  EXPECT_GT(population_size(run, Device::cuda), 4);
  run.task.train[0].options["input_seq_len"] = std::int64_t{256};
  EXPECT_EQ(population_size(run, Device::cuda), 4);
}

}  // namespace
}  // namespace recallbench
