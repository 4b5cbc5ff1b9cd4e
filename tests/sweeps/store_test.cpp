#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "kernels/base/hash.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/file_lock.h"
#include "kernels/base/io/json.h"
#include "sweeps/store/checksum.h"
#include "sweeps/store/labels.h"
#include "sweeps/store/record.h"
#include "sweeps/store/status.h"
#include "sweeps/store/summary_file.h"
#include "tests/process/process.h"

namespace recallbench {
namespace {

RunConfig config_with(std::uint64_t seed, double lr = 1e-3) {
  RunConfig config;
  config.sweep = "small";
  config.model_name = "based";
  config.seed = seed;
  config.train.lr = lr;
  config.task.train = {{"mqar", {{"input_seq_len", std::int64_t{64}}}, 100, "a.toml:1:2"}};
  config.task.test = config.task.train;
  config.model.layers = {{"base_conv", {{"kernel_size", std::int64_t{3}}}, ""},
                         {"based", {{"feature_dim", std::int64_t{16}}}, ""}};
  return config;
}

RunResult some_result() {
  RunResult result;
  result.status = "done";
  result.reason = "early_stopping";
  result.epochs = 3;
  result.steps = 30;
  result.valid = {0.1, 1.0 / 3, 100, 400, {{"num_kv_pairs", {{4, 0.5}, {16, 0.25}}}}};
  result.test = {0.2, 0.75, 200, 800, {{"num_kv_pairs", {{-4, 0.5}}}}};
  result.chance = 1.0 / 64;
  result.num_parameters = 12345;
  result.state_bytes = 4096;
  result.published_state_bytes = 2048.5;
  result.state_length = 256;
  return result;
}

/// The text of the error that `action` throws; fails the test if it is of another kind.
template <class Action>
std::string error_of(ErrorKind kind, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(Record, RoundTripKeepsEveryField) {
  const RunRecord record = make_record(config_with(1), some_result());
  const std::string text = record_text(record);
  const RunRecord back = parse_record(text, "result.json", record.run_id);
  EXPECT_EQ(record_text(back), text);
  EXPECT_EQ(back.config, canonical_json(config_with(1)));
  EXPECT_EQ(back.result.test.slices.at("num_kv_pairs").at(-4), 0.5);
  EXPECT_EQ(back.result.valid.accuracy, 1.0 / 3);
  EXPECT_EQ(*back.result.published_state_bytes, 2048.5);
}

TEST(Record, NanIsNullAndComesBack) {
  RunResult result = some_result();
  result.status = "diverged";
  result.test.loss = std::nan("");
  result.published_state_bytes.reset();
  const RunRecord record = make_record(config_with(1), result);
  const RunRecord back = parse_record(record_text(record), "result.json", record.run_id);
  EXPECT_TRUE(std::isnan(back.result.test.loss));
  EXPECT_FALSE(back.result.published_state_bytes.has_value());
}

TEST(Record, NamesAreNoPartOfIt) {
  RunConfig renamed = config_with(1);
  renamed.sweep = "other";
  renamed.model_name = "other";
  EXPECT_EQ(record_text(make_record(renamed, some_result())),
            record_text(make_record(config_with(1), some_result())));
}

TEST(Record, TornAnywhereIsRefused) {
  const RunRecord record = make_record(config_with(1), some_result());
  const std::string text = record_text(record);
  for (std::size_t size = 0; size + 1 < text.size(); ++size) {  // the last byte is a newline
    const std::string message = error_of(
        ErrorKind::io, [&] { parse_record(text.substr(0, size), "r/result.json", record.run_id); });
    ASSERT_NE(message.find("r/result.json"), std::string::npos) << message;
    ASSERT_NE(message.find("delete this file"), std::string::npos) << message;
  }
}

TEST(Record, AnyChangedDigitIsRefused) {
  const RunRecord record = make_record(config_with(1), some_result());
  const std::string text = record_text(record);
  int changed = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] < '1' || text[i] > '8') continue;
    std::string wrong = text;
    ++wrong[i];
    error_of(ErrorKind::io, [&] { parse_record(wrong, "result.json", record.run_id); });
    ++changed;
  }
  EXPECT_GT(changed, 50);
}

TEST(Record, ForeignAndUnknownAreRefused) {
  const RunRecord record = make_record(config_with(1), some_result());
  const std::string text = record_text(record);
  const std::string other = run_id(config_with(2));
  EXPECT_NE(error_of(ErrorKind::io, [&] { parse_record(text, "f", other); }).find(other),
            std::string::npos);
  const auto with = [&](const std::function<void(Json&)>& edit) {
    Json json = parse_with_checksum(text, "f", "r");
    edit(json);
    return error_of(ErrorKind::io, [&] { parse_record(with_checksum(json), "f", record.run_id); });
  };
  EXPECT_NE(with([](Json& j) { j["colour"] = 1; }).find("colour"), std::string::npos);
  EXPECT_NE(with([](Json& j) { j["result"]["status"] = "fine"; }).find("status"),
            std::string::npos);
  EXPECT_NE(with([](Json& j) { j["schema"] = 2; }).find("schema"), std::string::npos);
  EXPECT_NE(with([](Json& j) { j["config"]["seed"] = 7; }).find("hashes to"), std::string::npos);
  EXPECT_NE(with([](Json& j) { j["result"]["steps"] = -1; }).find("steps"), std::string::npos);
  EXPECT_NE(
      with([](Json& j) { j["result"]["test"]["slices"]["k"]["four"] = 0.5; }).find("integers"),
      std::string::npos);
}

TEST(Manifest, FrozenThenAddedToThenReduced) {
  const TemporaryFolder folder;
  const std::string& results = folder.path();
  const std::vector<RunConfig> two = {config_with(1), config_with(2)};
  update_manifest(results, "small", two);
  const std::string first = file_text(manifest_path(results));
  update_manifest(results, "small", two);
  EXPECT_EQ(file_text(manifest_path(results)), first);

  update_manifest(results, "small", {config_with(2), config_with(3)});
  Manifest manifest = read_manifest(results);
  ASSERT_EQ(manifest.runs.size(), 2u);
  EXPECT_EQ(manifest.runs[1].seed, 3u);
  EXPECT_EQ(manifest.runs[1].task.train[0].where, "a.toml:1:2");
  ASSERT_EQ(manifest.earlier.size(), 1u);
  EXPECT_EQ(manifest.earlier[0].seed, 1u);

  update_manifest(results, "small", {config_with(1)}, true);
  manifest = read_manifest(results);
  ASSERT_EQ(manifest.runs.size(), 3u);
  EXPECT_EQ(manifest.runs[2].seed, 1u);
  EXPECT_TRUE(manifest.earlier.empty());
}

TEST(Manifest, WrongOnesAreRefused) {
  const TemporaryFolder folder;
  const std::string& results = folder.path();
  EXPECT_NE(error_of(ErrorKind::io, [&] { read_manifest(results); }).find("manifest.json"),
            std::string::npos);
  RunConfig renamed = config_with(1);
  renamed.model_name = "twin";
  const std::string twice = error_of(ErrorKind::usage, [&] {
    update_manifest(results, "small", {config_with(1), renamed});
  });
  EXPECT_NE(twice.find("'based' and 'twin'"), std::string::npos) << twice;
  update_manifest(results, "small", {config_with(1)});
  const std::string other =
      error_of(ErrorKind::usage, [&] { update_manifest(results, "large", {config_with(1)}); });
  EXPECT_NE(other.find("'small'"), std::string::npos) << other;

  const std::string text = file_text(manifest_path(results));
  write_text(manifest_path(results), text.substr(0, text.size() / 2));
  error_of(ErrorKind::io, [&] { read_manifest(results); });
  std::string changed = text;
  changed.replace(changed.find("\"seed\": 1"), 9, "\"seed\": 2");
  write_text(manifest_path(results), changed);
  EXPECT_NE(error_of(ErrorKind::io, [&] { read_manifest(results); }).find("was changed"),
            std::string::npos);
}

TEST(Labels, TellWhatDiffers) {
  std::vector<RunConfig> runs = {config_with(1), config_with(2), config_with(1, 1e-2)};
  runs[2].model.d_model = 128;
  runs[2].model.layers[1].options["feature_dim"] = std::int64_t{24};
  const RunLabels labels = make_labels(runs);
  EXPECT_EQ(labels.model[0], "based d_model=64 feature_dim=16");
  EXPECT_EQ(labels.run[1], "based d_model=64 feature_dim=16 lr=0.001 seed=2");
  EXPECT_EQ(labels.run[2], "based d_model=128 feature_dim=24 lr=0.01 seed=1");
  EXPECT_EQ(varying_names(runs),
            (std::vector<std::string>{"d_model (2)", "feature_dim (2)", "lr (2)", "seed (2)"}));
  EXPECT_EQ(layers_text(runs[0].model), "base_conv(kernel_size=3)+based(feature_dim=16)");
}

TEST(Labels, OneNameWithTwoMeaningsIsToldByPlace) {
  std::vector<RunConfig> runs = {config_with(1), config_with(1)};
  runs[0].model.layers[0].options["feature_dim"] = std::int64_t{4};
  runs[1].model.layers[0].options["feature_dim"] = std::int64_t{8};
  runs[1].model.layers[1].options["feature_dim"] = std::int64_t{24};
  EXPECT_EQ(make_labels(runs).model[0],
            "based d_model=64 layers.0.feature_dim=4 layers.1.feature_dim=16");
}

TEST(Store, StatusAndSummaryOfEveryState) {
  const TemporaryFolder folder;
  const std::string& results = folder.path();
  std::vector<RunConfig> runs;
  for (std::uint64_t seed = 1; seed <= 9; ++seed)
    runs.push_back(config_with(seed));
  const Manifest manifest = update_manifest(results, "small", runs);
  std::vector<RunPaths> paths;
  for (const RunConfig& run : runs) {
    paths.push_back(run_paths(results, run_id(run)));
    make_directories(paths.back().folder);
  }
  publish(paths[0].result, record_text(make_record(runs[0], some_result())));
  RunResult diverged = some_result();
  diverged.status = "diverged";
  publish(paths[1].result, record_text(make_record(runs[1], diverged)));
  const auto lock = FileLock::try_lock(paths[2].lock);
  publish(paths[3].failure, failure_text({"killed by SIGSEGV", 2}));
  publish(paths[4].checkpoint, "x");
  publish(paths[6].result, "{");
  publish(paths[7].failure, "{");
  publish(paths[8].checkpoint_before, "x");  // killed while it wrote the next
  const auto statuses = run_statuses(results, manifest);
  const std::vector<std::string> expected = {"done",       "diverged", "running",
                                             "failed",     "missing",  "missing",
                                             "unreadable", "failed",   "missing"};
  for (std::size_t i = 0; i < runs.size(); ++i)
    EXPECT_EQ(to_string(statuses[i].state), expected[i]) << i;
  EXPECT_EQ(statuses[3].reason, "killed by SIGSEGV");
  for (const std::size_t i : {4, 8})
    EXPECT_NE(statuses[i].reason.find("checkpoint"), std::string::npos) << i;
  EXPECT_EQ(statuses[5].reason, kNotStarted);
  EXPECT_NE(statuses[6].reason.find(paths[6].result), std::string::npos) << statuses[6].reason;
  EXPECT_NE(statuses[7].reason.find(paths[7].failure), std::string::npos) << statuses[7].reason;

  const std::vector<SummaryRow> rows = collect_rows(results, manifest);
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0].seed, 1u);
  EXPECT_EQ(rows[0].slices.at("valid/num_kv_pairs/accuracy-16"), 0.25);
  EXPECT_EQ(rows[1].setting, rows[0].setting);
  for (std::size_t i = 2; i < 5; ++i)
    EXPECT_EQ(rows[i].status, "failed") << i;
  EXPECT_NE(rows[3].reason.find(paths[6].result), std::string::npos) << rows[3].reason;
  EXPECT_TRUE(write_summary_file(results, rows));
  EXPECT_FALSE(write_summary_file(results, rows));
  const auto back = read_summary(file_text(summary_path(results)), "summary.csv");
  ASSERT_EQ(back.size(), 5u);
  EXPECT_EQ(back[0].state_bytes, 4096);
}

}  // namespace
}  // namespace recallbench
