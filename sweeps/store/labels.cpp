#include "sweeps/store/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string_view>

namespace recallbench {
namespace {

/// One thing in which runs may differ: where it stands ("layers.1.feature_dim"), its short name
/// ("feature_dim") and its value.
struct Attribute {
  std::string place, name, value;
};
using Attributes = std::vector<Attribute>;

/// Those that are called otherwise than they stand in the configuration.
constexpr struct {
  std::string_view in_config, place, name;
} kRenamed[] = {{"max_position_embeddings", "positions", "positions"},
                {"state_mixer.type", "state_mixer", "state_mixer"},
                {"test_batch_size", "batch_size.test", "batch_size"},
                {"train_batch_size", "batch_size.train", "batch_size"}};

/// As in a recipe; a word without quotes, and false for what is not there.
std::string value_text(const Json& value) {
  if (value.is_null()) return "false";
  const auto is_word = [](const std::string& text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
    });
  };
  return value.is_string() && is_word(value.as_string()) ? value.as_string() : value.compact();
}

bool is_list_of_tables(const Json& value) {
  return value.is_array() && value.size() > 0 && value.at(0).is_object();
}

/// Adds whatever `value` holds, which stands at `place`. The short name of a key of a layer or a
/// segment is the key, of others their place.
void add_attributes(const Json& value, const std::string& place, const std::string& name,
                    bool is_listed, Attributes& all) {
  if (value.is_object()) {
    for (const auto& [key, entry] : value.as_object()) {
      // Options stand beside the name of their mixer or task in a recipe.
      const bool is_inner = is_listed && key == "options";
      const std::string inner = place.empty() ? key : place + "." + key;
      add_attributes(entry, is_inner ? place : inner, is_listed ? key : inner, is_listed, all);
    }
  } else if (is_list_of_tables(value)) {
    for (std::size_t i = 0; i < value.size(); ++i)
      add_attributes(value.at(i), fmt::format("{}.{}", place, i), "", true, all);
  } else {
    all.push_back({place, name, value_text(value)});
    for (const auto& renamed : kRenamed)
      if (place == renamed.in_config)
        all.back() = {std::string(renamed.place), std::string(renamed.name), all.back().value};
  }
}

/// Width first, layers last; learning rate and seed behind all else.
void put_in_order(Attributes& all) {
  const auto rank = [](const std::string& place) {
    return place == "d_model"             ? 0
           : place.starts_with("layers.") ? 2
           : place == "lr"                ? 3
           : place == "seed"              ? 4
                                          : 1;
  };
  std::stable_sort(all.begin(), all.end(), [&](const Attribute& a, const Attribute& b) {
    return rank(a.place) < rank(b.place);
  });
}

/// All of a run's configuration, in two: what makes another model, and the rest.
struct RunAttributes {
  Attributes model, rest;

  explicit RunAttributes(const RunConfig& config) {
    const Json json = canonical(config);
    for (const auto& [key, section] : json.as_object())
      add_attributes(section, section.is_object() ? "" : key, key, false,
                     key == "model" ? model : rest);
    put_in_order(model);
    put_in_order(rest);
  }
};

/// The short names of the places at which not all runs have one value.
class Varying {
 public:
  void add(const Attributes& run) {
    ++runs_;
    for (const Attribute& attribute : run) {
      const auto [seen, is_new] = seen_.try_emplace(attribute.place, Seen{attribute, 0, false});
      ++seen->second.times;
      if (seen->second.first.value != attribute.value) seen->second.varies = true;
    }
  }
  std::map<std::string, std::string> name_of_place() const {
    std::map<std::string, std::string> names;
    for (const auto& [place, seen] : seen_)
      if (seen.varies || seen.times != runs_) names[place] = seen.first.name;
    return names;
  }

 private:
  struct Seen {
    Attribute first;
    std::size_t times;
    bool varies;
  };
  std::size_t runs_ = 0;
  std::map<std::string, Seen> seen_;  // by place
};

/// " name=value" for the places in `shown`; where all that have one name have one value, it is told
/// once, else for each place. Attributes that differ there have different texts.
std::string attributes_text(const Attributes& attributes,
                            const std::map<std::string, std::string>& shown) {
  std::map<std::string, std::size_t> places;  // by name
  for (const auto& [place, name] : shown)
    ++places[name];
  std::map<std::string, std::vector<std::string>> values;  // by name
  for (const Attribute& a : attributes)
    if (shown.count(a.place) != 0) values[a.name].push_back(a.value);
  std::string text;
  std::set<std::string> told;
  for (const Attribute& a : attributes) {
    if (shown.count(a.place) == 0) continue;
    const std::vector<std::string>& all = values[a.name];
    const bool is_one = all.size() == places[a.name] &&
                        std::count(all.begin(), all.end(), a.value) == std::ssize(all);
    const std::string& name = is_one ? a.name : a.place;
    if (told.insert(name).second) text += fmt::format(" {}={}", name, a.value);
  }
  return text;
}

std::string values_text(const Values& values) {
  std::string text;
  for (const auto& [key, value] : values)
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, to_string(value));
  return text;
}

std::string segments_text(const std::vector<SegmentConfig>& segments) {
  std::string text;
  for (const SegmentConfig& segment : segments)
    text += fmt::format("{}{} {}({})", text.empty() ? "" : " + ", segment.num_examples,
                        segment.task, values_text(segment.options));
  return text;
}

std::string data_text(const TaskConfig& task) {
  std::string text = "train " + segments_text(task.train);
  if (!task.valid.empty()) text += "; valid " + segments_text(task.valid);
  return text + "; test " + segments_text(task.test);
}

/// Accuracies on data of several seeds are not to be chosen between: each seed's are a task.
std::vector<std::string> task_texts(const std::vector<RunConfig>& runs) {
  const auto seed_of = [](const RunConfig& run) {
    return run.model.zoology ? run.task.data_seed : run.task.test_seed;
  };
  const bool is_one = std::all_of(runs.begin(), runs.end(), [&](const RunConfig& run) {
    return seed_of(run) == seed_of(runs[0]);
  });
  std::vector<std::string> texts;
  for (const RunConfig& run : runs) {
    texts.push_back(data_text(run.task));
    if (!is_one)
      texts.back() +=
          fmt::format("; {} {}", run.model.zoology ? "data_seed" : "test_seed", seed_of(run));
  }
  return texts;
}

}  // namespace

RunLabels make_labels(const std::vector<RunConfig>& runs) {
  std::map<std::string, std::vector<std::size_t>> families;
  for (std::size_t i = 0; i < runs.size(); ++i)
    families[runs[i].model_name].push_back(i);
  RunLabels labels{std::vector<std::string>(runs.size()), std::vector<std::string>(runs.size()),
                   task_texts(runs)};
  for (const auto& [name, members] : families) {
    Varying models, rests;
    for (const std::size_t i : members) {
      const RunAttributes attributes(runs[i]);
      models.add(attributes.model);
      rests.add(attributes.rest);
    }
    std::map<std::string, std::string> shown = models.name_of_place();
    shown["d_model"] = "d_model";
    const std::map<std::string, std::string> shown_rest = rests.name_of_place();
    for (const std::size_t i : members) {
      const RunAttributes attributes(runs[i]);  // again: of many runs they take much memory
      std::string& model = labels.model[i];
      model =
          (name.empty() ? std::string("model") : name) + attributes_text(attributes.model, shown);
      labels.run[i] = model + attributes_text(attributes.rest, shown_rest);
    }
  }
  return labels;
}

std::vector<std::string> varying_names(const std::vector<RunConfig>& runs) {
  Varying varying;
  std::vector<Attributes> all;
  for (const RunConfig& run : runs) {
    RunAttributes attributes(run);
    all.push_back({{"model", "model", run.model_name}});
    for (Attributes* part : {&attributes.model, &attributes.rest})
      all.back().insert(all.back().end(), part->begin(), part->end());
    varying.add(all.back());
  }
  const std::map<std::string, std::string> places = varying.name_of_place();
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

}  // namespace recallbench
