#include <algorithm>

#include "kernels/base/io/json.h"
#include "kernels/base/version.h"
#include "sweeps/config/run_config.h"

namespace recallbench {
namespace {

/// Lists hold one kind of value; an empty one is a list of integers, as in a recipe.
Value to_value(const Json& json) {
  if (json.is_bool()) return json.as_bool();
  if (json.is_integer()) return json.as_int();
  if (json.is_number()) return json.as_double();
  if (json.is_string()) return json.as_string();
  std::vector<std::int64_t> integers;
  std::vector<double> numbers;
  std::vector<std::string> texts;
  for (const Json& entry : json.as_array()) {
    if (entry.is_string())
      texts.push_back(entry.as_string());
    else if (entry.is_integer())
      integers.push_back(entry.as_int());
    else
      numbers.push_back(entry.as_double());
  }
  if (texts.size() + integers.size() + numbers.size() !=
      std::max({texts.size(), integers.size(), numbers.size()}))
    json.reject("must hold values of one type");
  if (!texts.empty()) return texts;
  if (!numbers.empty()) return numbers;
  return integers;
}

Values to_values(const Json& json) {
  Values values;
  for (const auto& [key, value] : json.as_object())
    values[key] = to_value(value);
  return values;
}

std::vector<SegmentConfig> to_segments(const Json& json) {
  std::vector<SegmentConfig> segments;
  for (const Json& entry : json.as_array()) {
    entry.allow_keys({"task", "num_examples", "options", "where"});
    segments.push_back({entry.at("task").as_string(), to_values(entry.at("options")),
                        entry.at("num_examples").as_int(1), entry.at("where").as_string()});
  }
  return segments;
}

TaskConfig to_task(const Json& json) {
  json.allow_keys({"train_batch_size", "test_batch_size", "train", "valid", "test", "order",
                   "data_seed", "test_seed"});
  TaskConfig task;
  task.train_batch_size = json.at("train_batch_size").as_int(1);
  task.test_batch_size = json.at("test_batch_size").as_int(1);
  task.train = to_segments(json.at("train"));
  task.valid = to_segments(json.at("valid"));
  task.test = to_segments(json.at("test"));
  task.order = json.at("order").as_string();
  if (const Json* seed = json.find("data_seed")) task.data_seed = seed->as_uint();
  if (const Json* seed = json.find("test_seed")) task.test_seed = seed->as_uint();
  return task;
}

ModelConfig to_model(const Json& json) {
  json.allow_keys({"zoology", "vocab_size", "d_model", "n_layers", "max_position_embeddings",
                   "block", "tie_embeddings", "embed_dropout", "resid_dropout", "state_mixer",
                   "layers"});
  ModelConfig model;
  model.zoology = json.at("zoology").as_bool();
  model.vocab_size = json.at("vocab_size").as_int(1);
  model.d_model = json.at("d_model").as_int(1);
  model.n_layers = json.at("n_layers").as_int(1);
  model.max_position_embeddings = json.at("max_position_embeddings").as_int(0);
  model.block = json.at("block").as_string();
  model.tie_embeddings = json.at("tie_embeddings").as_bool();
  model.embed_dropout = json.at("embed_dropout").as_double();
  model.resid_dropout = json.at("resid_dropout").as_double();
  model.state_mixer.type = json.at("state_mixer").at("type").as_string();
  model.state_mixer.hidden_mult = json.at("state_mixer").at("hidden_mult").as_int(1);
  for (const Json& entry : json.at("layers").as_array()) {
    entry.allow_keys({"mixer", "options", "where"});
    model.layers.push_back({entry.at("mixer").as_string(), to_values(entry.at("options")),
                            entry.at("where").as_string()});
  }
  return model;
}

TrainConfig to_train(const Json& json) {
  json.allow_keys({"max_epochs", "lr", "weight_decay", "early_stopping"});
  TrainConfig train;
  train.max_epochs = json.at("max_epochs").as_int(1);
  train.lr = json.at("lr").as_double();
  train.weight_decay = json.at("weight_decay").as_double();
  if (const Json& stop = json.at("early_stopping"); !stop.is_null()) {
    stop.allow_keys({"metric", "threshold"});
    train.early_stopping = {stop.at("metric").as_string(), stop.at("threshold").as_double()};
  }
  return train;
}

}  // namespace

RunConfig parse_run_config(const std::string& text) {
  const Json json = parse_json(text, "run configuration", ErrorKind::io);
  json.allow_keys(
      {"numerics_version", "seed", "precision", "task", "model", "train", "sweep", "model_name"});
  if (json.at("numerics_version").as_int() != kNumericsVersion)
    json.at("numerics_version")
        .reject(fmt::format("must be {}, that of this program; start the sweep in a new folder",
                            kNumericsVersion));
  RunConfig config;
  config.sweep = json.at("sweep").as_string();
  config.model_name = json.at("model_name").as_string();
  config.seed = json.at("seed").as_uint();
  config.precision = json.at("precision").as_string();
  config.task = to_task(json.at("task"));
  config.model = to_model(json.at("model"));
  config.train = to_train(json.at("train"));
  return config;
}

}  // namespace recallbench
