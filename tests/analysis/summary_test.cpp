#include "analysis/summary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "analysis/csv.h"
#include "tests/analysis/support.h"

namespace recallbench {
namespace {

/// All fields, so that rows compare with NaN equal to NaN.
std::string fields_of(const SummaryRow& row) {
  return write_summary({row});
}

std::vector<SummaryRow> sample_rows() {
  SummaryRow full = make_run("based", 0.0031622776601683794, 18446744073709551615u, 0.1 + 0.2);
  full.state_size = 40548.25;
  full.slices[slice_column("valid", "num_kv_pairs", 4)] = 1;
  full.slices[slice_column("test", "num_kv_pairs", 16)] = 1.0 / 3;
  full.slices[slice_column("test", "num_kv_pairs", 8)] = 0;
  SummaryRow strange = make_run("=evil()", 1e-300, 0, 0);
  strange.model = "a \"quoted\", `id`\n');alert(1)//";
  strange.reason = "-1";
  SummaryRow bare;
  bare.run_id = "r-bare";
  bare.status = kStatusFailed;
  return {full, strange, diverged(make_run("mamba", 1, 2, 0.5)), bare};
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Summary, RowsComeBack) {
  const std::vector<SummaryRow> rows = sample_rows();
  const std::string text = write_summary(rows);
  const std::vector<SummaryRow> back = read_summary(text, "s.csv");
  ASSERT_EQ(back.size(), rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    EXPECT_EQ(fields_of(back[i]), fields_of(rows[i]));
  EXPECT_EQ(write_summary(back), text);
  EXPECT_EQ(back[0].seed, rows[0].seed);
  EXPECT_EQ(back[0].test_accuracy, 0.1 + 0.2);
  EXPECT_EQ(back[0].slices, rows[0].slices);
  EXPECT_EQ(back[1].model, rows[1].model);
  EXPECT_EQ(back[1].model_name, "=evil()");
  EXPECT_EQ(back[1].reason, "-1");
  EXPECT_FALSE(back[3].state_bytes.has_value());
  EXPECT_TRUE(back[3].valid_accuracy != back[3].valid_accuracy);
}

TEST(Summary, HeaderIsAsDocumented) {
  const std::string text = write_summary(sample_rows());
  EXPECT_EQ(text.substr(0, text.find('\n')),
            "run_id,sweep,task,model.name,model,model.d_model,model.n_layers,layers,learning_rate,"
            "weight_decay,setting,seed,status,reason,epochs,steps,valid/accuracy,valid/loss,"
            "test/accuracy,test/loss,valid/num_kv_pairs/accuracy-4,test/num_kv_pairs/accuracy-8,"
            "test/num_kv_pairs/accuracy-16,chance,state_bytes,state_size,state_length,"
            "num_parameters,vocab_size,precision,device,code_version,numerics_version,config_hash");
  const std::string readme = read_text(std::string(RECALLBENCH_SOURCE_DIR) + "/results/README.md");
  for (const std::string& column : summary_columns())
    EXPECT_NE(readme.find("| `" + std::string(column) + "` |"), std::string::npos) << column;
}

TEST(Summary, ColumnsMayStandInAnyOrder) {
  const std::vector<SummaryRow> rows = {sample_rows()[0], sample_rows()[2]};
  std::string turned;
  for (CsvRecord& record : parse_csv(write_summary(rows), "s.csv")) {
    std::reverse(record.cells.begin(), record.cells.end());
    for (const std::string& cell : record.cells)
      turned += csv_text(cell) + ",";
    turned.back() = '\n';
  }
  const std::vector<SummaryRow> back = read_summary(turned, "s.csv");
  ASSERT_EQ(back.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_EQ(fields_of(back[i]), fields_of(rows[i]));
}

TEST(Summary, RefusesWrongFilesAndSaysWhereAndWhat) {
  const std::string good = write_summary({make_run("based", 0.01, 1, 0.75)});
  const struct {
    std::string text, what;
  } cases[] = {
      {"", "s.csv:1: a header was expected"},
      {"a,b\n1,2\n", "s.csv:1: column 'run_id' is missing, so this is no summary.csv"},
      {replaced(good, "chance", "chanse"), "s.csv:1: column 'chanse' is unknown"},
      {replaced(good, "chance", "chanse"), "did you mean 'chance'?"},
      {replaced(good, "chance", "seed"), "s.csv:1: column 'seed' stands there twice"},
      {replaced(good, "test/loss", "test/x/accuracy-1"), "s.csv:1: column 'test/loss' is missing"},
      {replaced(good, "chance", "valid/x/accuracy-y"), "s.csv:1: column 'valid/x/accuracy-y'"},
      {replaced(good, ",0.75,", ",1.75,"), "column 'valid/accuracy' must be an accuracy from 0 to"},
      {replaced(good, ",0.75,", ",nan,"), "s.csv:2: column 'valid/accuracy'"},
      {replaced(good, ",0.75,", ",\"0,75\","), "not '0,75'"},
      {replaced(good, ",1024,", ",-1,"), "column 'state_bytes' must be an integer from 0 on"},
      {replaced(good, ",1024,", ",1024.5,"), "column 'state_bytes'"},
      {replaced(good, ",1,done", ",one,done"), "column 'seed' must be an integer from 0 on"},
      {replaced(good, ",1,done", ",,done"), "column 'seed'"},
      {replaced(good, ",64,2,", ",64,,"), "column 'model.n_layers'"},
      {replaced(good, ",0.01,0.1,", ",fast,0.1,"), "column 'learning_rate'"},
      {replaced(good, "\nr-based", "\n\x1b[31m"),
       "column 'config_hash' must be the same as run_id"},
      {replaced(good, "\nr-based-0.01-1,", "\n,"), "column 'config_hash'"},
      {good.substr(0, good.size() - 30), "s.csv:2: expected 31 cells"},
  };
  for (const auto& c : cases) {
    const std::string message = message_of(ErrorKind::io, [&] { read_summary(c.text, "s.csv"); });
    EXPECT_NE(message.find(c.what), std::string::npos) << message << "\nexpected: " << c.what;
    EXPECT_EQ(message.find('\x1b'), std::string::npos);
  }
}

TEST(Summary, SliceColumnsHaveTheirForm) {
  EXPECT_TRUE(is_slice_column("valid/num_kv_pairs/accuracy-64"));
  EXPECT_TRUE(is_slice_column("test/a/b/accuracy--1"));
  for (const char* other : {"valid/accuracy-64", "valid//accuracy-64", "train/x/accuracy-1",
                            "test/x/accuracy-", "test/x/accuracy-1.5", "test/x/loss-1", ""})
    EXPECT_FALSE(is_slice_column(other)) << other;
  SummaryRow row = make_run("based", 0.01, 1, 0.5);
  row.slices["accuracy-3"] = 0.5;
  EXPECT_THROW(write_summary({row}), Error);
}

TEST(LoadSummaries, MergesFoldersAndFiles) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "a");
  const SummaryRow first = make_run("based", 0.01, 1, 0.5), lost = make_run("based", 0.01, 2, 0.6);
  write_text(folder / "a/summary.csv", write_summary({first, diverged(lost)}));
  write_text(folder / "b.csv", write_summary({lost, first, make_run("mamba", 0.01, 1, 0.25)}));
  const auto rows = load_summaries({folder / "a", folder / "b.csv"});
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(fields_of(rows[0]), fields_of(first));
  EXPECT_EQ(fields_of(rows[1]), fields_of(lost));  // finished in b.csv
  EXPECT_EQ(rows[2].model_name, "mamba");
  const auto other_order = load_summaries({folder / "b.csv", folder / "a"});
  ASSERT_EQ(other_order.size(), 3u);
  EXPECT_EQ(fields_of(other_order[0]), fields_of(lost));
}

TEST(LoadSummaries, RefusesWhatCannotBeMerged) {
  const TemporaryFolder folder;
  const auto load = [&](const std::vector<std::string>& names) {
    std::vector<std::string> paths;
    for (const std::string& name : names)
      paths.push_back(folder / name);
    return message_of(ErrorKind::io, [&] { load_summaries(paths); });
  };
  write_text(folder / "a.csv", write_summary({make_run("based", 0.01, 1, 0.5)}));
  write_text(folder / "b.csv", write_summary({make_run("based", 0.01, 1, 0.625)}));
  write_text(folder / "none.csv", write_summary({}));
  std::filesystem::create_directory(folder / "empty");
  EXPECT_NE(load({"a.csv", "b.csv"}).find("has other results in"), std::string::npos);
  EXPECT_NE(load({"missing"}).find("does not exist"), std::string::npos);
  EXPECT_NE(load({"empty"}).find("holds no summary.csv"), std::string::npos);
  EXPECT_NE(load({"none.csv"}).find("holds no run"), std::string::npos);
}

}  // namespace
}  // namespace recallbench
