#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "kernels/base/io/npy.h"
#include "tasks/dataset.h"
#include "tests/tasks/support.h"

namespace recallbench::testing {
namespace {

/// The bytes of numbers in a given integer or floating type, little-endian.
template <class T>
std::string raw(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}

/// An .npy file with this header dictionary.
std::string file_with(const std::string& dictionary, const std::string& data) {
  std::string header = dictionary;
  while ((10 + header.size() + 1) % 64 != 0)
    header += ' ';
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

std::string npy(const std::string& descr, const std::string& shape, const std::string& data) {
  return file_with("{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }",
                   data);
}

using Longs = std::vector<std::int64_t>;
const std::string kInputs = npy("<i8", "(2, 3)", raw(Longs{1, 2, 3, 4, 5, 6}));
const std::string kLabels = npy("<i8", "(2, 3)", raw(Longs{-100, -100, 7, -100, 8, 7}));

class NpyPair : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("recallbench_npy_" + std::string(info->name()) + "_" + std::to_string(getpid()));
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Values write(const std::string& inputs, const std::string& labels) const {
    for (const auto& [name, bytes] : {std::pair{"inputs.npy", &inputs}, {"labels.npy", &labels}}) {
      std::ofstream file(folder_ / name, std::ios::binary);
      file << *bytes;
    }
    return {{"inputs", (folder_ / "inputs.npy").string()},
            {"labels", (folder_ / "labels.npy").string()},
            {"vocab_size", std::int64_t{10}}};
  }
  /// The message with which the pair is refused; empty if it is taken.
  static std::string refusal(const Values& values) {
    try {
      make_task("npy", values);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
      return error.what();
    }
    return "";
  }

  std::filesystem::path folder_;
};

TEST_F(NpyPair, IsTheTask) {
  const auto task = make_task("npy", write(kInputs, kLabels));
  EXPECT_EQ(task->shape().vocab_size, 10);
  EXPECT_EQ(task->shape().input_seq_len, 3);
  EXPECT_EQ(task->shape().labels_per_example, 2);
  EXPECT_EQ(task->available(), 2);
  EXPECT_EQ(task->chance(), 2.0 / 3.0);  // 7 is the most frequent of 7, 8, 7
  EXPECT_FALSE(task->solve(std::vector<std::int32_t>{1, 2, 3}).has_value());
  ASSERT_EQ(task->slices().size(), 1u);
  EXPECT_EQ(task->slices()[0].value, 3);
  const Examples all(*task, 1, 0, 2), last(*task, 99, 1, 1);
  EXPECT_EQ(all.inputs, (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(all.labels, (std::vector<std::int32_t>{-100, -100, 7, -100, 8, 7}));
  EXPECT_EQ(last.inputs, (std::vector<std::int32_t>{4, 5, 6}));
  const auto roles = task->roles(all.input(0), all.label(0));
  EXPECT_EQ(roles, (std::vector<Role>{Role::plain, Role::plain, Role::query}));
  EXPECT_THROW(Examples(*task, 1, 1, 2), Error);
  EXPECT_THROW(Dataset(*task, 1, 3), Error);
  EXPECT_EQ(Dataset(*task, 1, 2).num_labels(), 3);
}

TEST_F(NpyPair, TakesEveryIntegerTypeByteOrderAndLayout) {
  const std::string column_major = file_with(
      "{'descr': '<i8', 'fortran_order': True, 'shape': (2, 3), }", raw(Longs{1, 4, 2, 5, 3, 6}));
  const std::string big_endian = npy(">i2", "(2, 3)", std::string("\0\1\0\2\0\3\0\4\0\5\0\6", 12));
  const std::vector<std::string> forms = {
      kInputs,
      column_major,
      big_endian,
      npy("|u1", "(2, 3)", raw(std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6})),
      npy("|i1", "(2, 3)", raw(std::vector<std::int8_t>{1, 2, 3, 4, 5, 6})),
      npy("<i2", "(2, 3)", raw(std::vector<std::int16_t>{1, 2, 3, 4, 5, 6})),
      npy("<u2", "(2, 3)", raw(std::vector<std::uint16_t>{1, 2, 3, 4, 5, 6})),
      npy("<i4", "(2, 3)", raw(std::vector<std::int32_t>{1, 2, 3, 4, 5, 6})),
      npy("<u4", "(2, 3)", raw(std::vector<std::uint32_t>{1, 2, 3, 4, 5, 6})),
      npy("<u8", "(2, 3)", raw(std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6}))};
  for (const std::string& form : forms) {
    const auto task = make_task("npy", write(form, kLabels));
    EXPECT_EQ(Examples(*task, 1, 0, 2).inputs, (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6}));
  }
}

TEST_F(NpyPair, DigestPinsTheNumbersAndNotTheType) {
  const auto digest_of = [](const Values& values) {
    Options options("task 'npy'", values);
    builtin_tasks().find("npy").make(options);
    return std::get<std::string>(options.resolved().at("digest"));
  };
  Values values = write(kInputs, kLabels);
  const std::string digest = digest_of(values);
  EXPECT_EQ(digest.size(), 32u);
  values["digest"] = digest;
  EXPECT_EQ(refusal(values), "");
  write(npy("<i4", "(2, 3)", raw(std::vector<std::int32_t>{1, 2, 3, 4, 5, 6})), kLabels);
  EXPECT_EQ(refusal(values), "");
  write(npy("<i8", "(2, 3)", raw(Longs{1, 2, 3, 4, 5, 9})), kLabels);
  EXPECT_NE(refusal(values).find("'digest' must be that of the two files"), std::string::npos);
}

TEST_F(NpyPair, RefusesBadOptions) {
  const Values good = write(kInputs, kLabels);
  const auto changed = [&](const char* key, Value value) {
    Values values = good;
    values[key] = std::move(value);
    return refusal(values);
  };
  const auto without = [&](const char* key) {
    Values values = good;
    values.erase(key);
    return refusal(values);
  };
  const std::string cases[][2] = {
      {without("inputs"), "'inputs' is missing"},
      {without("labels"), "'labels' is missing"},
      {without("vocab_size"), "'vocab_size' is missing"},
      {changed("inputs", std::int64_t{3}), "'inputs' must be a string"},
      {changed("labels", true), "'labels' must be a string"},
      {changed("vocab_size", 10.5), "'vocab_size' must be an integer"},
      {changed("vocab_size", std::int64_t{0}), "'vocab_size' must lie in"},
      {changed("input", std::string("x")), "did you mean 'inputs'?"},
      {changed("inputs", (folder_ / "none.npy").string()), "none.npy"},
      {changed("labels", folder_.string()), "is a folder; give the path of a file"},
      {changed("inputs", std::string()), "''"},
      {changed("vocab_size", std::int64_t{6}), "[0, 6), came 6 in row 1, column 2"},
      {changed("vocab_size", std::int64_t{8}), "or -100 for no label, came 8 in row 1, column 1"},
  };
  for (const auto& [message, expected] : cases)
    EXPECT_NE(message.find(expected), std::string::npos) << message << " | " << expected;
}

TEST_F(NpyPair, RefusesBadFilesByName) {
  const auto longs = [](const char* shape, Longs numbers) {
    return npy("<i8", shape, raw(numbers));
  };
  const std::string six = raw(Longs{1, 2, 3, 4, 5, 6});

  struct Bad {
    std::string what, inputs, labels, expected;
  };
  const std::vector<Bad> all = {
      {"no file content", "", kLabels, "inputs.npy"},
      {"text", "1 2 3\n4 5 6\n", kLabels, "inputs.npy"},
      {"a zip (npz)", std::string("PK\3\4") + six, kLabels, "inputs.npy"},
      {"magic alone", "\x93NUMPY", kLabels, "inputs.npy"},
      {"unknown version", "\x93NUMPY\x09" + kInputs.substr(7), kLabels, "inputs.npy"},
      {"cut in the header", kInputs.substr(0, 40), kLabels, "inputs.npy"},
      {"cut in the data", kInputs.substr(0, kInputs.size() - 1), kLabels, "inputs.npy"},
      {"a byte too many", kInputs + "x", kLabels, "inputs.npy"},
      {"labels cut", kInputs, kLabels.substr(0, kLabels.size() - 8), "labels.npy"},
      {"labels are text", kInputs, "labels", "labels.npy"},
      {"no descr", file_with("{'fortran_order': False, 'shape': (2, 3), }", six), kLabels,
       "inputs.npy"},
      {"no shape", file_with("{'descr': '<i8', 'fortran_order': False, }", six), kLabels,
       "inputs.npy"},
      {"no order", file_with("{'descr': '<i8', 'shape': (2, 3), }", six), kLabels, "inputs.npy"},
      {"a header that is no dictionary", file_with("[1, 2]", six), kLabels, "inputs.npy"},
      {"objects", npy("|O", "(2, 3)", six), kLabels, "inputs.npy"},
      {"strings", npy("<U2", "(2, 3)", six), kLabels, "inputs.npy"},
      {"complex", npy("<c16", "(2, 3)", six + six), kLabels, "inputs.npy"},
      {"dates", npy("<M8[s]", "(2, 3)", six), kLabels, "inputs.npy"},
      {"a structure",
       file_with("{'descr': [('a', '<i8')], 'fortran_order': False, "
                 "'shape': (2, 3), }",
                 six),
       kLabels, "inputs.npy"},
      {"float64 tokens", npy("<f8", "(2, 3)", raw(std::vector<double>{1, 2, 3, 4, 5, 6})), kLabels,
       "key 'inputs' must name an array of integers, came F64"},
      {"float32 tokens", npy("<f4", "(2, 3)", raw(std::vector<float>{1, 2, 3, 4, 5, 6})), kLabels,
       "key 'inputs' must name an array of integers, came F32"},
      {"float16 tokens", npy("<f2", "(2, 3)", std::string(12, '\0')), kLabels, "came F16"},
      {"bool tokens", npy("|b1", "(2, 3)", std::string(6, '\1')), kLabels, "came BOOL"},
      {"float labels", kInputs, npy("<f8", "(2, 3)", raw(std::vector<double>{1, 2, 3, 4, 5, 6})),
       "key 'labels' must name an array of integers, came F64"},
      {"bool labels", kInputs, npy("|b1", "(2, 3)", std::string(6, '\1')), "'labels' must name"},
      {"a scalar", longs("()", {1}), kLabels, "'inputs' must name an array of shape [N, L]"},
      {"one dimension", longs("(6,)", {1, 2, 3, 4, 5, 6}), kLabels, "came shape [6]"},
      {"three dimensions", longs("(1, 2, 3)", {1, 2, 3, 4, 5, 6}), kLabels, "came shape [1, 2, 3]"},
      {"labels of one dimension", kInputs, longs("(6,)", {1, 2, 3, 4, 5, 6}),
       "'labels' must name an array of shape [N, L]"},
      {"no examples", longs("(0, 3)", {}), longs("(0, 3)", {}), "came shape [0, 3]"},
      {"no positions", longs("(2, 0)", {}), longs("(2, 0)", {}), "came shape [2, 0]"},
      {"a negative dimension", npy("<i8", "(-2, 3)", six), kLabels, "inputs.npy"},
      {"a huge shape", npy("<i8", "(4611686018427387904, 4)", six), kLabels, "inputs.npy"},
      {"a shape of names", npy("<i8", "(a, b)", six), kLabels, "inputs.npy"},
      {"fewer label rows", kInputs, longs("(1, 3)", {1, 2, 3}),
       "inputs' shape [2, 3], came [1, 3]"},
      {"longer labels", kInputs, longs("(2, 4)", {1, 1, 1, 1, 1, 1, 1, 1}), "came [2, 4]"},
      {"transposed labels", kInputs, longs("(3, 2)", {1, 2, 3, 4, 5, 6}), "came [3, 2]"},
      {"token of V", longs("(2, 3)", {1, 2, 3, 4, 10, 6}), kLabels,
       "[0, 10), came 10 in row 1, column 1"},
      {"negative token", longs("(2, 3)", {-1, 2, 3, 4, 5, 6}), kLabels,
       "came -1 in row 0, column 0"},
      {"ignore mark among tokens", longs("(2, 3)", {1, 2, -100, 4, 5, 6}), kLabels,
       "came -100 in row 0, column 2"},
      {"token beyond 32 bits", longs("(2, 3)", {1, 2, 3, std::int64_t{1} << 32, 5, 6}), kLabels,
       "came 4294967296 in row 1, column 0"},
      {"unsigned token beyond 63 bits",
       npy("<u8", "(2, 3)", raw(std::vector<std::uint64_t>{1, 2, 3, ~std::uint64_t{0}, 5, 6})),
       kLabels, "inputs.npy"},
      {"label of V", kInputs, longs("(2, 3)", {-100, 10, 1, 1, 1, 1}),
       "came 10 in row 0, column 1"},
      {"label of -1", kInputs, longs("(2, 3)", {1, 1, 1, 1, 1, -1}), "came -1 in row 1, column 2"},
      {"another ignore mark", kInputs, longs("(2, 3)", {-101, 1, 1, 1, 1, 1}), "came -101"},
      {"label beyond 32 bits", kInputs,
       longs("(2, 3)", {1, 1, 1, 1, 1, (std::int64_t{1} << 32) + 1}), "came 4294967297"},
      {"a row without labels", kInputs, longs("(2, 3)", {1, 1, 1, -100, -100, -100}),
       "'labels' must have a label in each row, row 1"},
      {"no label at all", kInputs, longs("(2, 3)", {-100, -100, -100, -100, -100, -100}), "row 0"},
  };
  EXPECT_GE(all.size(), 40u);
  for (const Bad& bad : all) {
    const std::string message = refusal(write(bad.inputs, bad.labels));
    EXPECT_NE(message, "") << bad.what << " was taken";
    EXPECT_EQ(message.rfind("[", 0), 0u) << message;
    EXPECT_NE(message.find(bad.expected), std::string::npos) << bad.what << ": " << message;
  }
}

TEST_F(NpyPair, RoundTripsAnExport) {
  const auto mqar = make_task("mqar", mqar_values(256, 64, 4));
  const Examples data(*mqar, 1, 0, 20);
  for (const auto& [name, numbers] :
       {std::pair{"inputs.npy", &data.inputs}, {"labels.npy", &data.labels}}) {
    const Longs wide(numbers->begin(), numbers->end());
    write_npy<std::int64_t>((folder_ / name).string(), {20, 64}, wide);
  }
  const auto task = make_task("npy", {{"inputs", (folder_ / "inputs.npy").string()},
                                      {"labels", (folder_ / "labels.npy").string()},
                                      {"vocab_size", std::int64_t{256}}});
  const Examples again(*task, 0, 0, 20);
  EXPECT_EQ(again.inputs, data.inputs);
  EXPECT_EQ(again.labels, data.labels);
  EXPECT_EQ(task->shape().labels_per_example, 4);
}

}  // namespace
}  // namespace recallbench::testing
