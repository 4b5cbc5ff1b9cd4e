// `recallbench compare` against the accuracies that are expected of a recipe.
#include <gtest/gtest.h>

#include <sstream>

#include "kernels/base/io/json.h"
#include "tests/process/process.h"

namespace recallbench {
namespace {

const std::string kMeasured = std::string(RECALLBENCH_SOURCE_DIR) + "/results/measured/";

Ended compare(std::vector<std::string> words, const ProcessOptions& options = {}) {
  words.insert(words.begin(), {RECALLBENCH_BINARY, "compare"});
  return run_program(words, options);
}

/// The demo's measured results in a folder, each line passed through `change` (which may empty it).
class DemoResults {
 public:
  template <class Change>
  explicit DemoResults(Change change) {
    std::istringstream lines(file_text(kMeasured + "demo/summary.csv"));
    std::string text;
    for (std::string line; std::getline(lines, line);)
      if (const std::string changed = change(line); !changed.empty()) text += changed + "\n";
    write_text(folder_ / "summary.csv", text);
  }
  const std::string& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

TEST(Compare, MeasuredResultsHold) {
  for (const char* sweep : {"demo", "based-figure2-small"}) {
    const Ended ended = compare({kMeasured + sweep});
    EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
    EXPECT_TRUE(contains(ended.err, "0 below, 0 missing")) << ended.err;
    EXPECT_TRUE(contains(ended.out, "holds")) << ended.out;
  }
}

TEST(Compare, AFileCalledLikeTheSweepIsNotItsRecipe) {
  const TemporaryFolder folder;
  write_text(folder / "demo", "notes\n");
  ProcessOptions options;
  options.folder = folder.path();
  const Ended ended = compare({kMeasured + "demo"}, options);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(contains(ended.err, "12 of 12 expected points hold")) << ended.err;
}

TEST(Compare, MissingPointsAreNamedAndNotCountedAsHeld) {
  const Ended ended = compare({kMeasured + "based-figure2", "--json"});
  EXPECT_EQ(ended.code, 0) << ended.out;
  int held = 0, missing = 0;
  const Json rows = parse_json(ended.out, "compare", ErrorKind::io);
  for (const Json& row : rows.as_array()) {
    const std::string& verdict = row.at("verdict").as_string();
    held += verdict == "holds" || verdict == "above";
    missing += verdict == "missing" && row.at("measured").is_null();
  }
  EXPECT_EQ(held, 19);     // attention, BASED and the windows are measured
  EXPECT_EQ(missing, 16);  // Mamba, Mamba-2, Hyena and H3 are not
  EXPECT_TRUE(contains(ended.err, "19 of 35 expected points hold")) << ended.err;
  EXPECT_TRUE(contains(ended.err, "16 missing")) << ended.err;
}

TEST(Compare, NothingMeasuredIsNotHeld) {
  const DemoResults others([](std::string line) {
    for (std::size_t at; (at = line.find("d_model=64")) != std::string::npos;)
      line.replace(at, 10, "d_model=96");
    for (std::size_t at; (at = line.find("input_seq_len=256")) != std::string::npos;)
      line.replace(at, 17, "input_seq_len=255");
    return line;
  });
  const Ended ended = compare({others.path()});
  EXPECT_EQ(ended.code, 1) << ended.out;
  EXPECT_TRUE(contains(ended.err, "12 missing; 12 runs on other data are left out")) << ended.err;
}

TEST(Compare, APointBelowItsToleranceFails) {
  const DemoResults worse([](std::string line) {
    const std::size_t at = line.find("0.9777777777777777");  // test accuracy of BASED, f = 8
    return at == std::string::npos ? line : line.replace(at, 18, "0.85");
  });
  const Ended ended = compare({worse.path()});
  EXPECT_EQ(ended.code, 1) << ended.out;
  EXPECT_TRUE(contains(ended.err, "11 of 12 expected points hold (0 above), 1 below, 0 missing"))
      << ended.err;
  EXPECT_EQ(compare({worse.path(), "--tolerance", "0.2"}).code, 0);
}

TEST(Compare, PointsThatAreNotThereAreMissing) {
  const DemoResults part(
      [](const std::string& line) { return contains(line, "mamba") ? std::string() : line; });
  const Ended ended = compare({part.path()});
  EXPECT_EQ(ended.code, 0) << ended.out;
  EXPECT_TRUE(contains(ended.err, "10 of 12 expected points hold")) << ended.err;
  EXPECT_TRUE(contains(ended.err, "2 missing")) << ended.err;
}

TEST(Compare, AFileOfOnesOwnAndThePublishedPointsAreStillThere) {
  const TemporaryFolder folder;
  write_text(folder / "mine.csv",
             "model.name,model.d_model,state_length,state_size,accuracy,tolerance,source\n"
             "based,64,256,12468,0.5,0.1,a guess\n");
  const Ended own = compare({kMeasured + "demo", "--expected", folder / "mine.csv"});
  EXPECT_EQ(own.code, 0) << own.err;
  EXPECT_TRUE(contains(own.out, "above")) << own.out;
  const std::string published =
      std::string(RECALLBENCH_SOURCE_DIR) + "/results/published/recall-memory-tradeoff.csv";
  const Ended against = compare({kMeasured + "based-figure2", "--published", published});
  EXPECT_EQ(against.code, 0) << against.err;
  EXPECT_TRUE(contains(against.err, "16 of 16 points are within 0.03")) << against.err;
  const Ended shorter = compare({kMeasured + "demo", "--published", published});
  EXPECT_EQ(shorter.code, 2);
  EXPECT_TRUE(contains(shorter.err, "a test of up to 1024 tokens (here: up to 256)"))
      << shorter.err;
  EXPECT_EQ(compare({kMeasured + "demo", "--expected", "a", "--published", "b"}).code, 2);
}

TEST(Compare, PublishedPointsOfAnotherTaskAreSaidToBe) {
  const DemoResults mine([](std::string line) {
    const std::size_t sizes = line.find(",65792,65920,256,14816,288,");
    const std::size_t sweep = line.find(",demo,");
    if (line.find("run_id") == 0) return line;
    if (sizes == std::string::npos || sweep == std::string::npos) return std::string();
    return line.replace(sizes, 16, ",65792,263435,1024").replace(sweep, 6, ",mine,");
  });
  const Ended ended = compare({mine.path()});
  EXPECT_TRUE(contains(ended.err, "1 of 1 points are within 0.03")) << ended.err;
  EXPECT_TRUE(
      contains(ended.err,
               "note: published points are of another task: they are of 8192 words, some of "
               "the others are not\n"))
      << ended.err;
}

/// A run's line as that of another run, of a task of 512 words.
std::string of_another_task(std::string line) {
  const std::string id = line.substr(0, line.find(','));
  for (std::size_t at; (at = line.find("vocab_size=288")) != std::string::npos;)
    line.replace(at, 14, "vocab_size=512");
  for (std::size_t at; (at = line.find(id)) != std::string::npos;)
    line.replace(at, 2, "r-");
  return line;
}

TEST(Compare, SeveralTasksTogetherAreNamed) {
  const DemoResults two([](const std::string& line) {
    if (line.find("run_id") == 0) return line;
    return line + "\n" + of_another_task(line);
  });
  const TemporaryFolder folder;
  write_text(folder / "mine.csv",
             "model.name,model.d_model,state_length,state_size,accuracy,tolerance,source\n"
             "based,64,256,12468,0.5,0.1,a guess\n");
  const Ended ended = compare({two.path(), "--expected", folder / "mine.csv"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(contains(ended.err,
                       "note: results of 2 tasks are together, and the best of each model counts: "
                       "mqar, vocab_size 288; mqar, vocab_size 512\n"))
      << ended.err;
  EXPECT_FALSE(contains(compare({two.path()}).err, "are together"));  // the recipe's own alone
}

TEST(Compare, SeveralTasksAgainstPublishedPointsAreNamed) {
  const DemoResults two([](std::string line) {
    if (line.find("run_id") == 0) return line;
    const std::size_t sizes = line.find(",65792,65920,256,14816,288,");
    if (sizes == std::string::npos) return std::string();
    line.replace(sizes, 16, ",65792,263435,1024");
    return line + "\n" + of_another_task(line);
  });
  const std::string published =
      std::string(RECALLBENCH_SOURCE_DIR) + "/results/published/recall-memory-tradeoff.csv";
  const Ended ended = compare({two.path(), "--published", published});
  EXPECT_TRUE(contains(ended.err,
                       "note: results of 2 tasks are together, and the best of each model counts: "
                       "mqar, vocab_size 288; mqar, vocab_size 512\n"))
      << ended.err;
  EXPECT_FALSE(contains(compare({two.path(), "--published", published, "--quiet"}).err, "note"));
}

}  // namespace
}  // namespace recallbench
