#include "sweeps/store/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "kernels/base/options.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

/// One thing in which runs may differ: where it stands ("layers.1.feature_dim"), its short name
/// ("feature_dim") and its value.
struct Attribute {
  std::string place, name, value;
};
using Attributes = std::vector<Attribute>;

Attribute named(const std::string& name, const std::string& value) {
  return {name, name, value};
}

std::string values_text(const Values& values) {
  std::string text;
  for (const auto& [key, value] : values)
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, to_string(value));
  return text;
}

void add_values(const std::string& place, const Values& values, Attributes& attributes) {
  for (const auto& [key, value] : values)
    attributes.push_back({place + "." + key, key, to_string(value)});
}

Attributes model_attributes(const ModelConfig& model) {
  Attributes all = {named("d_model", std::to_string(model.d_model)),
                    named("n_layers", std::to_string(model.n_layers)),
                    named("vocab_size", std::to_string(model.vocab_size)),
                    named("block", model.block),
                    named("state_mixer", model.state_mixer.type),
                    named("hidden_mult", std::to_string(model.state_mixer.hidden_mult)),
                    named("embed_dropout", number_text(model.embed_dropout)),
                    named("resid_dropout", number_text(model.resid_dropout)),
                    named("positions", std::to_string(model.max_position_embeddings))};
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const std::string place = fmt::format("layers.{}", i);
    all.push_back({place, "mixer", model.layers[i].mixer});
    add_values(place, model.layers[i].options, all);
  }
  return all;
}

Attributes training_attributes(const RunConfig& config) {
  Attributes all;
  for (std::size_t i = 0; i < config.task.train.size(); ++i) {
    const std::string place = fmt::format("train.{}", i);
    all.push_back({place, "task", config.task.train[i].task});
    all.push_back(
        {place + ".examples", "num_examples", std::to_string(config.task.train[i].num_examples)});
    add_values(place, config.task.train[i].options, all);
  }
  all.push_back(named("batch_size", std::to_string(config.task.train_batch_size)));
  all.push_back(named("max_epochs", std::to_string(config.train.max_epochs)));
  all.push_back(named("precision", config.precision));
  all.push_back(named("weight_decay", number_text(config.train.weight_decay)));
  all.push_back(named("lr", number_text(config.train.lr)));
  all.push_back(named("seed", std::to_string(config.seed)));
  return all;
}

/// Places at which not all of `runs` have one value.
std::set<std::string> varying_places(const std::vector<Attributes>& runs) {
  std::map<std::string, std::pair<std::string, std::size_t>> seen;  // place → value, count
  std::set<std::string> varying;
  for (const Attributes& run : runs) {
    for (const Attribute& attribute : run) {
      const auto [place, is_new] = seen.try_emplace(attribute.place, attribute.value, 0);
      ++place->second.second;
      if (!is_new && place->second.first != attribute.value) varying.insert(attribute.place);
    }
  }
  for (const auto& [place, value] : seen)
    if (value.second != runs.size()) varying.insert(place);
  return varying;
}

/// " name=value" for the places in `shown`; places of one name and one value are told once.
std::string attributes_text(const Attributes& attributes, const std::set<std::string>& shown) {
  std::map<std::string, std::set<std::string>> values_of_name;
  for (const Attribute& a : attributes)
    if (shown.count(a.place) != 0) values_of_name[a.name].insert(a.value);
  std::string text;
  std::set<std::string> told;
  for (const Attribute& a : attributes) {
    if (shown.count(a.place) == 0) continue;
    const bool unique = values_of_name[a.name].size() == 1;
    const std::string name = unique ? a.name : a.place;
    if (told.insert(name).second) text += fmt::format(" {}={}", name, a.value);
  }
  return text;
}

std::string segments_text(const std::vector<SegmentConfig>& segments) {
  std::string text;
  for (const SegmentConfig& segment : segments)
    text += fmt::format("{}{} {}({})", text.empty() ? "" : " + ", segment.num_examples,
                        segment.task, values_text(segment.options));
  return text;
}

}  // namespace

RunLabels make_labels(const std::vector<RunConfig>& runs) {
  std::map<std::string, std::vector<std::size_t>> families;
  for (std::size_t i = 0; i < runs.size(); ++i)
    families[runs[i].model_name].push_back(i);
  RunLabels labels{std::vector<std::string>(runs.size()), std::vector<std::string>(runs.size())};
  for (const auto& [name, members] : families) {
    std::vector<Attributes> models, trainings;
    for (const std::size_t i : members) {
      models.push_back(model_attributes(runs[i].model));
      trainings.push_back(training_attributes(runs[i]));
    }
    std::set<std::string> shown = varying_places(models);
    shown.insert("d_model");
    const std::set<std::string> shown_training = varying_places(trainings);
    for (std::size_t k = 0; k < members.size(); ++k) {
      std::string& model = labels.model[members[k]];
      model = (name.empty() ? std::string("model") : name) + attributes_text(models[k], shown);
      labels.run[members[k]] = model + attributes_text(trainings[k], shown_training);
    }
  }
  return labels;
}

std::vector<std::string> varying_names(const std::vector<RunConfig>& runs) {
  std::vector<Attributes> all;
  for (const RunConfig& run : runs) {
    all.push_back({named("model", run.model_name)});
    for (const Attribute& attribute : model_attributes(run.model))
      all.back().push_back(attribute);
    for (const Attribute& attribute : training_attributes(run))
      all.back().push_back(attribute);
  }
  const std::set<std::string> places = varying_places(all);
  std::vector<std::string> names;  // in order of appearance
  std::map<std::string, std::set<std::string>> values;
  for (const Attributes& run : all)
    for (const Attribute& attribute : run) {
      if (places.count(attribute.place) == 0) continue;
      if (values[attribute.name].empty()) names.push_back(attribute.name);
      values[attribute.name].insert(attribute.value);
    }
  for (std::string& name : names)
    name += fmt::format(" ({})", values[name].size());
  return names;
}

std::string layers_text(const ModelConfig& model) {
  std::string text;
  for (const LayerConfig& layer : model.layers)
    text +=
        fmt::format("{}{}({})", text.empty() ? "" : "+", layer.mixer, values_text(layer.options));
  return text;
}

std::string task_text(const TaskConfig& task) {
  std::string text = "train " + segments_text(task.train);
  if (!task.valid.empty()) text += "; valid " + segments_text(task.valid);
  return text + "; test " + segments_text(task.test);
}

}  // namespace recallbench
