#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <sstream>
#include <string>

#include "tests/process/process.h"

namespace recallbench {

/// Starts sweeps of the stand-in trainer (tests/fake_sweep) in a folder of their own.
class FakeSweep : public testing::Test {
 protected:
  using Environment = std::map<std::string, std::string>;

  static std::vector<std::string> command(const std::string& results, int runs, int jobs = 2,
                                          const std::string& timeout = "") {
    std::vector<std::string> words = {RECALLBENCH_FAKE_SWEEP, "sweep", results,
                                      std::to_string(runs), std::to_string(jobs)};
    if (!timeout.empty()) words.push_back(timeout);
    return words;
  }

  static Ended sweep(const std::string& results, int runs, const Environment& environment = {},
                     int jobs = 2) {
    ProcessOptions options;
    options.environment = environment;
    return run_program(command(results, runs, jobs), options);
  }

  /// All that must not depend on interruptions: path → content of result.json, metrics.jsonl and
  /// summary.csv.
  static std::map<std::string, std::string> contents(const std::string& results) {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(results)) {
      const std::string name = entry.path().filename().string();
      if (name == "result.json" || name == "metrics.jsonl" || name == "summary.csv")
        files[entry.path().lexically_relative(results).string()] = file_text(entry.path().string());
    }
    return files;
  }

  /// Whether a run's folder has `file`, while a sweep runs: other names come and go beside them.
  static bool a_run_has(const std::string& results, const std::string& file) {
    std::error_code not_there;
    for (const auto& run : std::filesystem::directory_iterator(results + "/runs", not_there))
      if (std::filesystem::exists(run.path() / file, not_there)) return true;
    return false;
  }

  /// Names of the files anywhere below `results` that look like a publisher's temporary ones.
  static std::vector<std::string> leftovers(const std::string& results) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(results))
      if (entry.path().filename().string().find(".tmp.") != std::string::npos)
        found.push_back(entry.path().string());
    return found;
  }

  /// What a sweep that nothing disturbs leaves.
  static std::map<std::string, std::string> undisturbed(int runs) {
    const TemporaryFolder folder;
    const Ended ended = sweep(folder / "r", runs);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return contents(folder / "r");
  }

  /// How often each line stands in the trace.
  static std::map<std::string, int> trace_lines(const std::string& path) {
    std::map<std::string, int> lines;
    std::istringstream text(file_text(path));
    for (std::string line; std::getline(text, line);)
      ++lines[line];
    return lines;
  }

  static int overlaps(const std::string& trace) {
    int count = 0;
    for (const auto& [line, times] : trace_lines(trace))
      if (line.starts_with("overlap")) count += times;
    return count;
  }

  TemporaryFolder folder_;
  const std::string results_ = folder_ / "r";
  const std::string trace_ = folder_ / "trace";
};

}  // namespace recallbench
