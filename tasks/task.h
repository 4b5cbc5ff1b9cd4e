#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/options.h"
#include "kernels/base/registry.h"
#include "tasks/stop.h"

namespace recallbench {

/// Label of a position at which nothing is asked.
inline constexpr std::int32_t kIgnoreLabel = -100;

/// What a batch of examples of one segment looks like.
struct TaskShape {
  std::int64_t vocab_size;          ///< V: tokens and labels lie in [0, V)
  std::int64_t input_seq_len;       ///< L
  std::int64_t labels_per_example;  ///< most labels that one example has
};

/// One of the named groups by which accuracy is reported, constant over a segment:
/// {"num_kv_pairs", 8}.
struct Slice {
  std::string key;
  std::int64_t value;
};

/// What a token is there for, to show an example to people.
enum class Role { plain, key, value, query, filler };

/// Generates examples. Native generation is a pure function of (parameters, seed, index).
class Task {
 public:
  virtual ~Task() = default;
  virtual TaskShape shape() const = 0;
  virtual std::vector<Slice> slices() const = 0;
  /// Expected accuracy of a model that knows the task and sees the current token alone.
  virtual double chance() const = 0;
  /// Writes examples [first, first + count) of the stream `seed`: inputs and labels, [count, L]
  /// row-major, labels kIgnoreLabel where nothing is asked. Any thread may call it at any time.
  virtual void generate(std::uint64_t seed, std::int64_t first, std::int64_t count,
                        std::int32_t* inputs, std::int32_t* labels) const = 0;
  /// The exact solver: the token to answer at each position of one example, from inputs[0..t]
  /// alone; kIgnoreLabel where it has no answer. Scores 100 % on every labelled position.
  /// nullopt for data whose rule is not known (a user's own file).
  virtual std::optional<std::vector<std::int32_t>> solve(
      std::span<const std::int32_t> inputs) const = 0;
  /// How many examples exist, where the data are finite (a user's own file): generate then takes
  /// first + count up to this, and every seed gives the same examples.
  virtual std::optional<std::int64_t> available() const { return std::nullopt; }
  /// The role of each token of one example; by default a query where there is a label.
  virtual std::vector<Role> roles(std::span<const std::int32_t> inputs,
                                  std::span<const std::int32_t> labels) const;
};

/// Data of one segment in one go, as reference generators make them: the draws of one example
/// depend on those of all others (num_examples included).
struct SegmentData {
  std::vector<std::int32_t> inputs, labels;  // [N, L]
};

/// A task's place in the registry.
struct TaskEntry {
  std::string summary;
  /// Reads its parameters from `options` (but does not call finish()); throws Error(usage) on
  /// impossible ones.
  std::function<std::unique_ptr<Task>(Options& options)> make;
  /// The whole segment as the public reference generates it, bit for bit (compat = "zoology");
  /// empty for a task that has no such reference. `seed` is the segment's; `fillers` is the
  /// separate engine that draws fillers and goes on from segment to segment. Throws Stopped.
  std::function<SegmentData(Options& options, std::uint32_t seed, std::mt19937& fillers,
                            std::int64_t num_examples, const StopRequested& stop)>
      generate_compat;
  /// How many words of `fillers` that takes: so that segments can be made side by side.
  std::function<std::int64_t(Options& options, std::int64_t num_examples)> compat_filler_words;
};

using TaskRegistry = Registry<TaskEntry>;

/// Adds every task in this tree; defined by the build from the folders that it finds.
void register_builtin_tasks(TaskRegistry& registry);

/// The registry with everything in it.
const TaskRegistry& builtin_tasks();

}  // namespace recallbench
