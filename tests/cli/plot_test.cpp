// `recallbench plot`: what it says beside the figures.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/process/process.h"

namespace recallbench {
namespace {

const std::string kDejaVu = "/usr/share/fonts/truetype/dejavu";
const std::string kDemo = std::string(RECALLBENCH_SOURCE_DIR) + "/results/measured/demo";

/// Plots the demo's results under `title`, on a machine that has DejaVu's fonts alone.
Ended plot(const TemporaryFolder& folder, const std::string& title,
           const std::vector<std::string>& more) {
  write_text(folder / "fonts.conf", "<?xml version=\"1.0\"?>\n<fontconfig><dir>" + kDejaVu +
                                        "</dir><cachedir>" + (folder / "cache") +
                                        "</cachedir></fontconfig>\n");
  std::vector<std::string> command = {RECALLBENCH_BINARY, "plot",    kDemo, "--out",
                                      folder.path(),      "--title", title};
  command.insert(command.end(), more.begin(), more.end());
  ProcessOptions options;
  options.environment["FONTCONFIG_FILE"] = folder / "fonts.conf";
  return run_program(command, options);
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

TEST(Plot, SaysOnceWhichCharactersNoFontHas) {
  if (!std::filesystem::exists("/usr/bin/gnuplot") || !std::filesystem::exists(kDejaVu))
    GTEST_SKIP() << "gnuplot or DejaVu's fonts are not installed";
  const TemporaryFolder folder;
  const Ended ended = plot(folder, "\u9577\u3044", {});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(count(ended.err, "no installed font has \u3044\u9577"), 1u) << ended.err;
  EXPECT_EQ(count(ended.out, "no installed font"), 0u);
  const Ended json = plot(folder, "\u9577\u3044", {"--json"});
  EXPECT_EQ(count(json.out, "no installed font"), 1u) << json.out;
  EXPECT_EQ(count(plot(folder, "\u9577", {"--format", "svg"}).err, "no installed font"), 0u);
  EXPECT_EQ(count(plot(folder, "Gr\u00F6\u00DFe", {}).err, "no installed font"), 0u);
}

TEST(Plot, AnAccuracyMayHaveItsNameInTheSummary) {
  for (const std::string split : {"test", "valid"}) {
    const Ended brief = run_program({RECALLBENCH_BINARY, "pareto", kDemo, "--y", split});
    const Ended whole =
        run_program({RECALLBENCH_BINARY, "pareto", kDemo, "--y", split + "/accuracy"});
    EXPECT_EQ(whole.code, 0) << whole.err;
    EXPECT_EQ(whole.out, brief.out);
  }
  if (!std::filesystem::exists("/usr/bin/gnuplot")) GTEST_SKIP() << "gnuplot is not installed";
  const TemporaryFolder folder;
  ASSERT_EQ(plot(folder, "t", {"--y", "test/accuracy", "--format", "svg"}).code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder / "frontier.svg"));
}

TEST(Plot, AFigureSaysThatPublishedPointsAreOfAnotherTask) {
  if (!std::filesystem::exists("/usr/bin/gnuplot")) GTEST_SKIP() << "gnuplot is not installed";
  const TemporaryFolder folder;
  ASSERT_EQ(plot(folder, "t", {"--published", "--format", "svg"}).code, 0);
  EXPECT_EQ(count(file_text(folder / "frontier.svg"), "published points: another task"), 1u);
  ASSERT_EQ(plot(folder, "t", {"--format", "svg"}).code, 0);
  EXPECT_EQ(count(file_text(folder / "frontier.svg"), "another task"), 0u);
}

}  // namespace
}  // namespace recallbench
