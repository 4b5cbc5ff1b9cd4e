#include "sweeps/train/metrics_json.h"

#include <charconv>

namespace recallbench {
namespace {

std::int64_t slice_value(const std::string& text, const Json& at) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    at.reject("must have integers as its keys");
  return value;
}

}  // namespace

Json to_json(const SplitMetrics& metrics) {
  Json json;
  json["loss"] = metrics.loss;
  json["accuracy"] = metrics.accuracy;
  json["examples"] = metrics.examples;
  json["labels"] = metrics.labels;
  Json slices(Json::Object{});
  for (const auto& [key, values] : metrics.slices)
    for (const auto& [value, accuracy] : values)
      slices[key][std::to_string(value)] = accuracy;
  json["slices"] = slices;
  return json;
}

SplitMetrics split_from_json(const Json& json) {
  json.allow_keys({"loss", "accuracy", "examples", "labels", "slices"});
  SplitMetrics metrics;
  metrics.loss = json.at("loss").as_double_or_nan();
  metrics.accuracy = json.at("accuracy").as_double_or_nan();
  metrics.examples = json.at("examples").as_int(0);
  metrics.labels = json.at("labels").as_int(0);
  for (const auto& [key, values] : json.at("slices").as_object())
    for (const auto& [value, accuracy] : values.as_object())
      metrics.slices[key][slice_value(value, values)] = accuracy.as_double_or_nan();
  return metrics;
}

Json to_json(const EpochMetrics& epoch) {
  Json json;
  json["epoch"] = epoch.epoch;
  json["step"] = epoch.step;
  json["lr"] = epoch.lr;
  json["train_loss"] = epoch.train_loss;
  json["valid"] = to_json(epoch.valid);
  return json;
}

EpochMetrics epoch_from_json(const Json& json) {
  json.allow_keys({"epoch", "step", "lr", "train_loss", "valid"});
  return {json.at("epoch").as_int(0), json.at("step").as_int(0), json.at("lr").as_double(),
          json.at("train_loss").as_double_or_nan(), split_from_json(json.at("valid"))};
}

}  // namespace recallbench
