#include "tasks/dataset.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/base/error.h"
#include "tasks/for_blocks.h"

namespace recallbench {
namespace {

/// Tokens that one thread generates at a time.
constexpr std::int64_t kBlockTokens = 1 << 16;

std::size_t cells(std::int64_t rows, std::int64_t columns) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
}

/// Throws unless the tokens of an example are in [0, V): what is beyond would be read as another.
void check_tokens(const std::int32_t* tokens, std::int64_t length, std::int64_t vocab_size,
                  std::int64_t example) {
  const auto is_outside = [&](std::int32_t token) { return token < 0 || token >= vocab_size; };
  bool any = false;  // one pass without a branch: this is done for all data
  for (std::int64_t t = 0; t < length; ++t)
    any |= is_outside(tokens[t]);
  if (!any) return;
  fail(ErrorKind::internal, "data set", "need tokens in [0, {}), example {} has {}", vocab_size,
       example, *std::find_if(tokens, tokens + length, is_outside));
}

std::int64_t examples_asked(const Task& task, std::int64_t num_examples) {
  if (num_examples < 0) {
    fail(ErrorKind::usage, "data set", "num_examples must be at least 0, came {}; raise it",
         num_examples);
  }
  if (const auto available = task.available(); available && num_examples > *available) {
    fail(ErrorKind::usage, "data set",
         "the data have {} examples, num_examples asks for {}; lower it to {} or give more data",
         *available, num_examples, *available);
  }
  return num_examples;
}

}  // namespace

CompactInts::CompactInts(std::int64_t bound, std::size_t size)
    : bound_(bound), is_narrow_(bound <= 65536) {
  if (is_narrow_)
    narrow_.resize(size);
  else
    wide_.resize(size);
}

std::int64_t CompactInts::bytes() const {
  return static_cast<std::int64_t>(2 * narrow_.size() + 4 * wide_.size());
}

StoredArray CompactInts::stored(const std::string& name) const {
  StoredArray array;
  array.name = name;
  array.type = is_narrow_ ? StoredType::u16 : StoredType::i32;
  array.shape = {static_cast<std::int64_t>(size())};
  array.bytes = {is_narrow_ ? reinterpret_cast<const char*>(narrow_.data())
                            : reinterpret_cast<const char*>(wide_.data()),
                 static_cast<std::size_t>(bytes())};
  return array;
}

void CompactInts::load(const StoredArray& array) {
  if (array.type != (is_narrow_ ? StoredType::u16 : StoredType::i32) ||
      array.bytes.size() != static_cast<std::size_t>(bytes()))
    array.reject("has not the size of this data set");
  std::memcpy(is_narrow_ ? static_cast<void*>(narrow_.data()) : wide_.data(), array.bytes.data(),
              array.bytes.size());
  const auto outside = [this](std::int64_t value) { return value < 0 || value >= bound_; };
  if (std::any_of(narrow_.begin(), narrow_.end(), outside) ||
      std::any_of(wide_.begin(), wide_.end(), outside))
    array.reject("has a number out of bounds");
}

void CompactInts::set(std::size_t first, const std::int32_t* values, std::size_t count) {
  if (!is_narrow_) {
    std::copy_n(values, count, wide_.begin() + static_cast<std::ptrdiff_t>(first));
    return;
  }
  for (std::size_t i = 0; i < count; ++i)
    narrow_[first + i] = static_cast<std::uint16_t>(values[i]);
}

void CompactInts::get(std::size_t first, std::size_t count, std::int32_t* values) const {
  if (is_narrow_)
    std::copy_n(narrow_.begin() + static_cast<std::ptrdiff_t>(first), count, values);
  else
    std::copy_n(wide_.begin() + static_cast<std::ptrdiff_t>(first), count, values);
}

Dataset::Dataset(const TaskShape& shape, std::int64_t num_examples)
    : shape_(shape),
      num_examples_(num_examples),
      tokens_(shape.vocab_size, cells(num_examples, shape.input_seq_len)),
      positions_(shape.input_seq_len, cells(num_examples, shape.labels_per_example)),
      targets_(shape.vocab_size, cells(num_examples, shape.labels_per_example)),
      counts_(static_cast<std::size_t>(num_examples)) {}

Dataset::Dataset(const Task& task, std::uint64_t seed, std::int64_t num_examples, int threads,
                 const StopRequested& stop)
    : Dataset(task.shape(), examples_asked(task, num_examples)) {
  check(threads >= 1, "data set", "need threads >= 1, came {}", threads);
  const std::int64_t length = shape_.input_seq_len;
  const std::int64_t rows = std::max<std::int64_t>(1, kBlockTokens / length);
  for_blocks((num_examples + rows - 1) / rows, threads, [&](std::int64_t block) {
    if (block > 0) end_if(stop);
    const std::int64_t first = block * rows;
    const std::int64_t count = std::min(rows, num_examples - first);
    std::vector<std::int32_t> inputs(cells(count, length)), labels(cells(count, length));
    task.generate(seed, first, count, inputs.data(), labels.data());
    store(first, count, inputs.data(), labels.data());
  });
}

Dataset::Dataset(const TaskShape& shape, const SegmentData& data)
    : Dataset(shape, static_cast<std::int64_t>(data.inputs.size()) / shape.input_seq_len) {
  check(data.inputs.size() == data.labels.size() &&
            data.inputs.size() == cells(num_examples_, shape.input_seq_len),
        "data set", "need inputs and labels of [N, {}], came {} and {} numbers",
        shape.input_seq_len, data.inputs.size(), data.labels.size());
  store(0, num_examples_, data.inputs.data(), data.labels.data());
}

void Dataset::store(std::int64_t first, std::int64_t count, const std::int32_t* inputs,
                    const std::int32_t* labels) {
  const std::int64_t length = shape_.input_seq_len;
  const std::int64_t most = shape_.labels_per_example;
  std::vector<std::int32_t> positions(static_cast<std::size_t>(most)), targets(positions);
  for (std::int64_t e = 0; e < count; ++e) {
    check_tokens(inputs + e * length, length, shape_.vocab_size, first + e);
    std::fill(positions.begin(), positions.end(), 0);
    std::fill(targets.begin(), targets.end(), 0);
    const std::int32_t* row = labels + e * length;
    std::int64_t found = 0;
    for (std::int64_t t = 0; t < length; ++t) {
      if (row[t] == kIgnoreLabel) continue;
      check(found < most, "data set", "need at most {} labels an example, example {} has more",
            most, first + e);
      check(row[t] >= 0 && row[t] < shape_.vocab_size, "data set",
            "need labels in [0, {}), or {} where nothing is asked; example {} has {}",
            shape_.vocab_size, kIgnoreLabel, first + e, row[t]);
      positions[static_cast<std::size_t>(found)] = static_cast<std::int32_t>(t);
      targets[static_cast<std::size_t>(found)] = row[t];
      ++found;
    }
    if (found == 0) {
      fail(ErrorKind::usage, "data set",
           "each example needs a label, example {} has none; leave it out", first + e);
    }
    counts_[static_cast<std::size_t>(first + e)] = static_cast<std::int32_t>(found);
    positions_.set(cells(first + e, most), positions.data(), positions.size());
    targets_.set(cells(first + e, most), targets.data(), targets.size());
  }
  tokens_.set(cells(first, length), inputs, cells(count, length));
}

std::int64_t Dataset::num_labels() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
}

std::int64_t Dataset::bytes() const {
  return tokens_.bytes() + positions_.bytes() + targets_.bytes() +
         static_cast<std::int64_t>(counts_.size() * sizeof(counts_[0]));
}

void Dataset::copy_batch(std::int64_t first, std::int64_t count, std::int32_t* tokens,
                         std::int32_t* positions, std::int32_t* targets, float* weights) const {
  check(first >= 0 && count >= 0 && first + count <= num_examples_, "data set",
        "need examples of [0, {}), came [{}, {})", num_examples_, first, first + count);
  const std::int64_t most = shape_.labels_per_example;
  if (tokens != nullptr)
    tokens_.get(cells(first, shape_.input_seq_len), cells(count, shape_.input_seq_len), tokens);
  if (positions != nullptr) positions_.get(cells(first, most), cells(count, most), positions);
  if (targets != nullptr) targets_.get(cells(first, most), cells(count, most), targets);
  if (weights == nullptr) return;
  for (std::int64_t e = 0; e < count; ++e) {
    const std::int32_t labels = counts_[static_cast<std::size_t>(first + e)];
    std::fill_n(weights + e * most, labels, 1.0f);
    std::fill_n(weights + e * most + labels, most - labels, 0.0f);
  }
}

std::vector<StoredArray> Dataset::arrays(const std::string& prefix) const {
  return {tokens_.stored(prefix + "tokens"), positions_.stored(prefix + "positions"),
          targets_.stored(prefix + "targets"),
          stored_array(prefix + "counts", {num_examples_}, std::span(counts_))};
}

Dataset Dataset::restore(const TaskShape& shape, std::int64_t num_examples, const Safetensors& file,
                         const std::string& prefix) {
  Dataset data(shape, num_examples);
  data.tokens_.load(file.at(prefix + "tokens"));
  data.positions_.load(file.at(prefix + "positions"));
  data.targets_.load(file.at(prefix + "targets"));
  const StoredArray counts = file.at(prefix + "counts");
  data.counts_ = counts.to_int32(1, static_cast<std::int32_t>(shape.labels_per_example));
  if (counts.size() != num_examples) counts.reject("has not the size of this data set");
  return data;
}

}  // namespace recallbench
