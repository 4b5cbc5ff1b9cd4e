#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/names.h"
#include "sweeps/config/mixer_keys.h"
#include "sweeps/config/read_run.h"
#include "sweeps/config/table_reader.h"

namespace recallbench {
namespace {

double read_dropout(const TableReader& model, const std::string& key, double fallback) {
  const double p = model.number(key, fallback);
  if (!(p >= 0 && p < 1)) model.reject(key, "a probability in [0, 1)");
  return p;
}

StateMixerConfig read_state_mixer(const TableReader& model) {
  StateMixerConfig config;
  const Node* node = model.table("state_mixer");
  if (node == nullptr) return config;
  const TableReader table(*node, "state_mixer", {"type", "hidden_mult", "activation"});
  config.type = table.text("type", std::nullopt, {"identity", "mlp", "glu"});
  config.hidden_mult = table.integer("hidden_mult", config.hidden_mult, 1, 64);
  table.text("activation", "gelu", {"gelu"});
  if (config.type == "identity") {
    for (const char* key : {"hidden_mult", "activation"})
      if (table.has(key))
        fail_at(table.place(key), "'{}' means nothing for the identity state mixer; drop it", key);
    config.hidden_mult = StateMixerConfig{}.hidden_mult;
  }
  return config;
}

void check_fit(const TableReader& model, const ModelConfig& config, std::size_t n_layers_given) {
  constexpr std::int64_t kMostWeights = std::int64_t{1} << 30;
  if (config.d_model > kMostWeights / config.vocab_size)
    model.reject("d_model", fmt::format("so that vocab_size x d_model is at most 2^30 ({} x {})",
                                        config.vocab_size, config.d_model));
  if (config.block != "transformer" && config.state_mixer.type != "identity")
    fail_at(model.place("state_mixer"),
            "block = \"{}\" has no state mixer; drop state_mixer or take the transformer block",
            config.block);
  if (static_cast<std::int64_t>(n_layers_given) > config.n_layers)
    fail_at(model.place("layers"),
            "'layers' has {} entries and n_layers is {}; raise n_layers or drop the entries that "
            "would never be used",
            n_layers_given, config.n_layers);
}

}  // namespace

const std::vector<std::string>& model_keys() {
  static const std::vector<std::string> keys = {
      "vocab_size",  "d_model",        "n_layers",      "max_position_embeddings",
      "block",       "tie_embeddings", "embed_dropout", "resid_dropout",
      "state_mixer", "layers"};
  return keys;
}

ModelConfig read_model(const Node& table, bool zoology, std::int64_t default_vocab_size,
                       const std::vector<std::string>& known, Resolver& resolver) {
  refuse_mixer_keys(table, "[model]", known);
  const TableReader model(table, "[model]", known);
  ModelConfig config;
  config.zoology = zoology;
  config.vocab_size = model.integer("vocab_size", default_vocab_size, 2, std::int64_t{1} << 24);
  config.d_model = model.integer("d_model", config.d_model, 1, std::int64_t{1} << 16);
  config.n_layers = model.integer("n_layers", config.n_layers, 1, 1024);
  config.max_position_embeddings =
      model.integer("max_position_embeddings", config.max_position_embeddings, 0, kLongestSequence);
  config.block = model.text("block", config.block, {"transformer", "mamba", "mamba2"});
  config.tie_embeddings = model.boolean("tie_embeddings", config.tie_embeddings);
  config.embed_dropout = read_dropout(model, "embed_dropout", config.embed_dropout);
  config.resid_dropout = read_dropout(model, "resid_dropout", config.resid_dropout);
  config.state_mixer = read_state_mixer(model);
  const List* layers = model.list("layers");
  if (layers == nullptr)
    fail_at(model.place(),
            "[model] needs the key 'layers', such as layers = [{{mixer = \"attention\"}}]");
  check_fit(model, config, layers->size());
  resolver.layers(config, *layers);
  return config;
}

}  // namespace recallbench
