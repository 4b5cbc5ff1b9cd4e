#include "sweeps/config/read_run.h"

#include <algorithm>
#include <limits>

#include "sweeps/config/table_reader.h"

namespace recallbench {
namespace {

constexpr std::int64_t kMostExamples = 1'000'000'000;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 36;

const std::vector<std::string> kTaskKeys = {"batch_size", "train",     "valid", "test",
                                            "test_seed",  "data_seed", "order"};
const std::vector<std::string> kTrainKeys = {"max_epochs", "lr", "weight_decay", "early_stopping"};

/// A segment with what the checks against the model need.
struct Segment {
  const Node* entry;
  const ResolvedSegment* resolved;
};

class RunReader {
 public:
  RunReader(const Node& tree, Resolver& resolver)
      : top_(tree, "the top level", run_keys()), resolver_(resolver) {}

  RunConfig read() {
    RunConfig config;
    zoology_ = top_.has("compat") && !top_.text("compat", "", {"zoology"}).empty();
    const std::string precision = top_.text("precision", "auto", {"auto", "fp32", "tf32", "bf16"});
    config.device_sets_precision = precision == "auto";
    if (!config.device_sets_precision) config.precision = precision;
    config.seed = static_cast<std::uint64_t>(
        top_.integer("seed", 1, 0, std::numeric_limits<std::int64_t>::max()));
    config.task = read_task();
    const Node* model = top_.table("model");
    if (model == nullptr) fail_at(top_.place(), "the recipe needs a [model] table");
    if (const Table* table = model->get<Table>(); table->find("compat") != nullptr)
      fail_at(table->find("compat")->place,
              "'compat' stands at the top of a recipe, beside 'schema'; in [model] it is only for "
              "a lone model file");
    config.model = read_model(*model, zoology_, segments_[0].resolved->shape.vocab_size,
                              model_keys(), resolver_);
    check_segments(*model, config.model);
    config.train = read_train();
    return config;
  }

 private:
  TaskConfig read_task() {
    const Node* node = top_.table("task");
    if (node == nullptr) fail_at(top_.place(), "the recipe needs a [task] table");
    const TableReader task(*node, "[task]", kTaskKeys);
    TaskConfig config;
    read_batch_sizes(task, config);
    if (zoology_) {
      refuse(task, "valid", "validation and test are one under compat = \"zoology\"");
      refuse(task, "test_seed", "under compat = \"zoology\" data_seed fixes all data");
      config.data_seed = static_cast<std::uint64_t>(
          task.integer("data_seed", static_cast<std::int64_t>(config.data_seed), 0,
                       (std::int64_t{1} << 32) - 1));
    } else {
      refuse(task, "data_seed", "data_seed is for compat = \"zoology\"; use seed and test_seed");
      config.test_seed = static_cast<std::uint64_t>(
          task.integer("test_seed", 0, 0, std::numeric_limits<std::int64_t>::max()));
    }
    config.train = read_segments(task, "train");
    config.test = read_segments(task, "test");
    if (task.has("valid")) config.valid = read_segments(task, "valid");
    config.order = task.text("order", config.order, {"sequential", "shuffle_batches"});
    return config;
  }

  static void refuse(const TableReader& task, const std::string& key, const char* why) {
    if (task.has(key)) fail_at(task.place(key), "'{}' has no effect: {}; drop it", key, why);
  }

  static void read_batch_sizes(const TableReader& task, TaskConfig& config) {
    constexpr std::int64_t kMost = 65536;
    const Node* node = task.any("batch_size");
    if (node == nullptr) return;
    if (node->get<Table>() != nullptr) {
      const TableReader sizes(*node, "batch_size", {"train", "test"});
      config.train_batch_size = sizes.integer("train", std::nullopt, 1, kMost);
      config.test_batch_size = sizes.integer("test", std::nullopt, 1, kMost);
    } else if (node->get<std::int64_t>() != nullptr) {
      config.train_batch_size = config.test_batch_size =
          task.integer("batch_size", std::nullopt, 1, kMost);
    } else {
      task.reject("batch_size", "an integer or {train = ..., test = ...}");
    }
  }

  std::vector<SegmentConfig> read_segments(const TableReader& task, const std::string& key) {
    const List* list = task.list(key);
    if (list == nullptr)
      fail_at(task.place(),
              "[task] needs the key '{}', such as {} = [{{task = \"mqar\", num_examples = 1000}}]",
              key, key);
    std::vector<SegmentConfig> segments;
    for (const Node& entry : *list) {
      const TableReader table(entry, fmt::format("an entry of '{}'", key), {});
      const ResolvedSegment& resolved = resolver_.segment(entry);
      SegmentConfig segment;
      segment.task = table.text("task", std::nullopt);
      segment.options = resolved.options;
      const std::int64_t there = resolved.available.value_or(0);
      segment.num_examples =
          table.integer("num_examples", resolved.available.value_or(segment.num_examples), 1,
                        std::max(kMostExamples, there));
      if (resolved.available && segment.num_examples > there)
        fail_at(table.place("num_examples"),
                "the data have {0} examples, num_examples asks for {1}; lower it to {0} or give "
                "more data",
                there, segment.num_examples);
      segment.where = entry.place.text();
      if (segment.num_examples > kMostTokens / resolved.shape.input_seq_len)
        table.reject("num_examples",
                     fmt::format("so that examples x length is at most 2^36 (length "
                                 "is {})",
                                 resolved.shape.input_seq_len));
      if (zoology_ && !resolved.has_compat)
        fail_at(
            entry.place,
            "task '{}' has no public reference to be compatible with; drop compat = \"zoology\"",
            segment.task);
      segments_.push_back({&entry, &resolved});
      segments.push_back(std::move(segment));
    }
    return segments;
  }

  void check_segments(const Node& model_node, const ModelConfig& model) const {
    for (const Segment& segment : segments_) {
      const TaskShape& shape = segment.resolved->shape;
      if (shape.vocab_size != model.vocab_size)
        fail_at(segment.entry->place,
                "this entry has vocab_size {} and the model has {} ({}); make them equal",
                shape.vocab_size, model.vocab_size, place_in(model_node, "vocab_size"));
      if (shape.input_seq_len > kLongestSequence)
        fail_at(segment.entry->place, "sequences have at most {} tokens, these have {}",
                kLongestSequence, shape.input_seq_len);
      if (model.max_position_embeddings > 0 && shape.input_seq_len > model.max_position_embeddings)
        fail_at(segment.entry->place,
                "sequences of {} tokens do not fit max_position_embeddings = {} ({}); raise it, or "
                "set it to 0 for no position embeddings",
                shape.input_seq_len, model.max_position_embeddings,
                place_in(model_node, "max_position_embeddings"));
    }
  }

  static std::string place_in(const Node& table, const std::string& key) {
    const Node* value = table.get<Table>()->find(key);
    return value == nullptr ? "by default" : value->place.text();
  }

  TrainConfig read_train() const {
    TrainConfig config;
    const Node* node = top_.table("train");
    if (node == nullptr) return config;
    const TableReader train(*node, "[train]", kTrainKeys);
    config.max_epochs = train.integer("max_epochs", config.max_epochs, 1, 1'000'000);
    config.lr = train.number("lr", config.lr);
    if (!(config.lr > 0)) train.reject("lr", "greater than 0");
    config.weight_decay = train.number("weight_decay", config.weight_decay);
    if (!(config.weight_decay >= 0)) train.reject("weight_decay", "at least 0");
    if (!(config.lr * config.weight_decay < 1))
      train.reject("lr", fmt::format("below 1 / weight_decay ({}), or each step would overshoot 0",
                                     config.weight_decay));
    config.early_stopping = read_early_stopping(train);
    return config;
  }

  /// A table, or false, which an override can say: train.early_stopping=false.
  static std::optional<EarlyStopping> read_early_stopping(const TableReader& train) {
    const Node* node = train.any("early_stopping");
    if (node == nullptr) return std::nullopt;
    if (const auto* flag = node->get<bool>(); flag != nullptr && !*flag) return std::nullopt;
    if (node->get<Table>() == nullptr)
      train.reject("early_stopping", "a table {metric, threshold}, or false");
    const TableReader table(*node, "early_stopping", {"metric", "threshold"});
    EarlyStopping stop;
    stop.metric = table.text("metric", stop.metric, {"accuracy", "loss"});
    const bool is_loss = stop.metric == "loss";
    stop.threshold =
        table.number("threshold", is_loss ? std::nullopt : std::optional<double>(stop.threshold));
    if (is_loss && !(stop.threshold > 0)) table.reject("threshold", "a loss greater than 0");
    if (!is_loss && !(stop.threshold >= 0 && stop.threshold < 1))
      table.reject("threshold", "an accuracy in [0, 1), since it must be exceeded");
    return stop;
  }

  TableReader top_;
  Resolver& resolver_;
  bool zoology_ = false;
  std::vector<Segment> segments_;
};

}  // namespace

const std::vector<std::string>& run_keys() {
  static const std::vector<std::string> keys = {"compat", "precision", "seed",
                                                "task",   "model",     "train"};
  return keys;
}

std::vector<std::string> known_paths() {
  std::vector<std::string> paths = {"compat", "precision", "seed"};
  for (const std::string& key : kTaskKeys)
    paths.push_back("task." + key);
  for (const std::string& key : model_keys())
    paths.push_back("model." + key);
  for (const std::string& key : kTrainKeys)
    paths.push_back("train." + key);
  return paths;
}

RunConfig read_run(const Node& tree, Resolver& resolver) {
  return RunReader(tree, resolver).read();
}

}  // namespace recallbench
