#include "kernels/base/io/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "tasks/task.h"

namespace recallbench {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{8} << 30;

/// One of the two files: its numbers [N, L], checked to be integers.
struct Matrix {
  std::int64_t rows, columns;
  std::vector<std::int64_t> numbers;
};

Matrix read_matrix(const Options& options, const std::string& key, const std::string& path) {
  const NpyArray array = read_npy(path, kMaxBytes, ErrorKind::usage);
  const StoredArray view = array.view();
  if (array.shape.size() != 2 || array.shape[0] < 1 || array.shape[1] < 1) {
    options.reject(key, fmt::format("must name an array of shape [N, L] with N and L at least 1, "
                                    "came shape {}; reshape it",
                                    shape_text(array.shape)));
  }
  switch (array.type) {
    case StoredType::i8:
    case StoredType::i16:
    case StoredType::i32:
    case StoredType::i64:
    case StoredType::u8:
    case StoredType::u16:
    case StoredType::u32:
    case StoredType::u64:
      break;
    default:
      options.reject(key, fmt::format("must name an array of integers, came {}; convert it, as by "
                                      "astype('int32')",
                                      name_of(array.type)));
  }
  return {array.shape[0], array.shape[1], view.to_int64()};
}

/// A token of [0, V), or where `may_ignore` kIgnoreLabel; anything else is an error about its
/// place.
void check_tokens(const Options& options, const std::string& key, const Matrix& matrix,
                  std::int64_t vocab_size, bool may_ignore) {
  for (std::size_t i = 0; i < matrix.numbers.size(); ++i) {
    const std::int64_t token = matrix.numbers[i];
    if ((token >= 0 && token < vocab_size) || (may_ignore && token == kIgnoreLabel)) continue;
    const auto at = static_cast<std::int64_t>(i);
    options.reject(key, fmt::format("must hold tokens of [0, vocab_size) = [0, {}){}, came {} in "
                                    "row {}, column {}; correct the file or vocab_size",
                                    vocab_size, may_ignore ? " or -100 for no label" : "", token,
                                    at / matrix.columns, at % matrix.columns));
  }
}

/// Of shape and numbers, whatever integer type the files have.
std::string digest_of(const Matrix& inputs, const Matrix& labels) {
  const auto hash = [](const std::vector<std::int64_t>& numbers) {
    return xxh3_128_hex(
        {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(std::int64_t)});
  };
  return xxh3_128_hex(fmt::format("{} {} {} {}", inputs.rows, inputs.columns, hash(inputs.numbers),
                                  hash(labels.numbers)));
}

class NpyTask final : public Task {
 public:
  explicit NpyTask(Options& options);

  TaskShape shape() const override { return shape_; }
  std::vector<Slice> slices() const override { return {{"input_seq_len", shape_.input_seq_len}}; }
  double chance() const override { return chance_; }
  void generate(std::uint64_t seed, std::int64_t first, std::int64_t count, std::int32_t* inputs,
                std::int32_t* labels) const override;
  std::optional<std::vector<std::int32_t>> solve(std::span<const std::int32_t>) const override {
    return std::nullopt;
  }
  std::optional<std::int64_t> available() const override { return rows_; }

 private:
  void count_labels(const Options& options);

  TaskShape shape_{};
  std::int64_t rows_ = 0;
  double chance_ = 0;
  std::vector<std::int32_t> inputs_, labels_;  ///< [N, L]
};

NpyTask::NpyTask(Options& options) {
  const std::string inputs_path =
      options.text("inputs", std::nullopt, {}, "file of tokens, integers [N, L]");
  const std::string labels_path = options.text(
      "labels", std::nullopt, {}, "file of labels, integers [N, L], -100 where nothing is asked");
  shape_.vocab_size =
      options.integer("vocab_size", std::nullopt, 1, 1 << 24, "V; tokens and labels lie in [0, V)");
  const auto read_digest = [&](const std::string& fallback) {
    return options.text("digest", fallback, {}, "of both files; an error if they change");
  };
  read_digest("that of the files");  // for `list`, which has none: it is known below
  const Matrix inputs = read_matrix(options, "inputs", inputs_path);
  const Matrix labels = read_matrix(options, "labels", labels_path);
  if (inputs.rows != labels.rows || inputs.columns != labels.columns) {
    options.reject("labels", fmt::format("must name an array of the inputs' shape [{}, {}], came "
                                         "[{}, {}]; give the two files of one export",
                                         inputs.rows, inputs.columns, labels.rows, labels.columns));
  }
  check_tokens(options, "inputs", inputs, shape_.vocab_size, false);
  check_tokens(options, "labels", labels, shape_.vocab_size, true);
  const std::string digest = digest_of(inputs, labels);
  if (read_digest(digest) != digest) {
    options.reject("digest", fmt::format("must be that of the two files, {}; they are not the "
                                         "files that it was taken from",
                                         digest));
  }
  rows_ = inputs.rows;
  shape_.input_seq_len = inputs.columns;
  inputs_.assign(inputs.numbers.begin(), inputs.numbers.end());
  labels_.assign(labels.numbers.begin(), labels.numbers.end());
  count_labels(options);
}

/// Finds the largest number of labels in a row and the share of the most frequent label.
void NpyTask::count_labels(const Options& options) {
  std::vector<std::int64_t> frequency(static_cast<std::size_t>(shape_.vocab_size), 0);
  std::int64_t total = 0;
  for (std::int64_t row = 0; row < rows_; ++row) {
    const auto begin = labels_.begin() + row * shape_.input_seq_len;
    std::int64_t found = 0;
    for (auto label = begin; label != begin + shape_.input_seq_len; ++label) {
      if (*label == kIgnoreLabel) continue;
      ++frequency[static_cast<std::size_t>(*label)];
      ++found;
    }
    if (found == 0) {
      options.reject("labels", fmt::format("must have a label in each row, row {} is -100 "
                                           "throughout; leave that example out of both files",
                                           row));
    }
    shape_.labels_per_example = std::max(shape_.labels_per_example, found);
    total += found;
  }
  const std::int64_t most = *std::max_element(frequency.begin(), frequency.end());
  chance_ = static_cast<double>(most) / static_cast<double>(total);
}

void NpyTask::generate(std::uint64_t, std::int64_t first, std::int64_t count, std::int32_t* inputs,
                       std::int32_t* labels) const {
  if (first < 0 || count < 0 || first + count > rows_) {
    fail(ErrorKind::usage, "task 'npy'",
         "the files have {} examples, {} from index {} on need {}; ask for fewer or give larger "
         "files",
         rows_, count, first, first + count);
  }
  const std::int64_t begin = first * shape_.input_seq_len;
  const std::int64_t cells = count * shape_.input_seq_len;
  std::copy_n(inputs_.begin() + begin, cells, inputs);
  std::copy_n(labels_.begin() + begin, cells, labels);
}

}  // namespace

void register_npy(TaskRegistry& registry) {
  TaskEntry entry;
  entry.summary = "your own examples, from a pair of .npy files";
  entry.make = [](Options& options) -> std::unique_ptr<Task> {
    return std::make_unique<NpyTask>(options);
  };
  registry.add("npy", std::move(entry));
}

}  // namespace recallbench
