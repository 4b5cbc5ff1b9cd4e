#include "sweeps/config/run_config.h"

#include "kernels/base/hash.h"
#include "kernels/base/version.h"

namespace recallbench {
namespace {

Json to_json(const Value& value) {
  return std::visit(
      [](const auto& x) -> Json {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::int64_t> ||
                      std::is_same_v<T, double> || std::is_same_v<T, std::string>)
          return Json(x);
        else
          return Json::list(x);
      },
      value);
}

Json to_json(const Values& values) {
  Json object{Json::Object{}};
  for (const auto& [key, value] : values)
    object[key] = to_json(value);
  return object;
}

/// With `names`, the places too.
Json to_json(const std::vector<SegmentConfig>& segments, bool names) {
  Json list{Json::Array{}};
  for (const SegmentConfig& segment : segments) {
    Json object;
    object["task"] = segment.task;
    object["num_examples"] = segment.num_examples;
    object["options"] = to_json(segment.options);
    if (names) object["where"] = segment.where;
    list.push_back(std::move(object));
  }
  return list;
}

Json to_json(const TaskConfig& task, bool zoology, bool names) {
  Json object;
  object["train_batch_size"] = task.train_batch_size;
  object["test_batch_size"] = task.test_batch_size;
  object["train"] = to_json(task.train, names);
  object["valid"] = to_json(task.valid, names);
  object["test"] = to_json(task.test, names);
  object["order"] = task.order;
  // Each kind of data has one seed of its own; the other one decides nothing.
  if (zoology)
    object["data_seed"] = task.data_seed;
  else
    object["test_seed"] = task.test_seed;
  return object;
}

Json to_json(const ModelConfig& model, bool names) {
  Json object;
  object["zoology"] = model.zoology;
  object["vocab_size"] = model.vocab_size;
  object["d_model"] = model.d_model;
  object["n_layers"] = model.n_layers;
  object["max_position_embeddings"] = model.max_position_embeddings;
  object["block"] = model.block;
  object["tie_embeddings"] = model.tie_embeddings;
  object["embed_dropout"] = model.embed_dropout;
  object["resid_dropout"] = model.resid_dropout;
  object["state_mixer"]["type"] = model.state_mixer.type;
  object["state_mixer"]["hidden_mult"] = model.state_mixer.hidden_mult;
  Json layers{Json::Array{}};
  for (const LayerConfig& layer : model.layers) {
    Json entry;
    entry["mixer"] = layer.mixer;
    entry["options"] = to_json(layer.options);
    if (names) entry["where"] = layer.where;
    layers.push_back(std::move(entry));
  }
  object["layers"] = std::move(layers);
  return object;
}

Json to_json(const TrainConfig& train) {
  Json object;
  object["max_epochs"] = train.max_epochs;
  object["lr"] = train.lr;
  object["weight_decay"] = train.weight_decay;
  object["early_stopping"] = nullptr;
  if (train.early_stopping) {
    object["early_stopping"] = Json{Json::Object{}};
    object["early_stopping"]["metric"] = train.early_stopping->metric;
    object["early_stopping"]["threshold"] = train.early_stopping->threshold;
  }
  return object;
}

Json to_json(const RunConfig& config, bool names) {
  Json object;
  object["numerics_version"] = kNumericsVersion;
  object["seed"] = config.seed;
  object["precision"] = config.precision;
  object["task"] = to_json(config.task, config.model.zoology, names);
  object["model"] = to_json(config.model, names);
  object["train"] = to_json(config.train);
  if (names) {
    object["sweep"] = config.sweep;
    object["model_name"] = config.model_name;
  }
  return object;
}

}  // namespace

Json canonical(const RunConfig& config) {
  return to_json(config, false);
}

std::string canonical_json(const RunConfig& config) {
  return canonical(config).compact();
}

std::string run_id(const RunConfig& config) {
  return "r" + xxh3_128_hex(canonical_json(config));
}

std::string to_json(const RunConfig& config) {
  return to_json(config, true).compact();
}

}  // namespace recallbench
