#include "kernels/base/names.h"
#include "mixers/registry.h"
#include "sweeps/config/declare_only.h"
#include "sweeps/config/resolve.h"
#include "sweeps/config/table_reader.h"

namespace recallbench {
namespace {

constexpr std::int64_t kMostNumbers = std::int64_t{1} << 31;

/// The parameters of one entry of `layers`, as the recipe gives them.
Options options_of(const Node& entry, const std::string& mixer) {
  Options options("mixer '" + mixer + "'");
  for (const Entry& parameter : entry.get<Table>()->entries)
    if (parameter.key != "mixer")
      options.set(parameter.key, to_option(parameter.key, parameter.value),
                  parameter.value.place.text());
  return options;
}

/// Makes the mixers of every layer that takes this entry; their parameters resolve alike.
LayerConfig resolve(const ModelConfig& model, const Node& entry, std::int64_t first,
                    std::int64_t stride, DeclareOnly& declared) {
  const TableReader table(entry, "an entry of 'layers'", {});
  LayerConfig layer;
  layer.mixer = table.text("mixer", std::nullopt);
  layer.where = entry.place.text();
  const MixerRegistry& mixers = mixer_registry();
  if (!mixers.contains(layer.mixer))
    fail_at(table.place("mixer"), "there is no mixer '{}'{}", layer.mixer, mixer_hint(layer.mixer));
  for (std::int64_t i = first; i < model.n_layers; i += stride) {
    MixerContext context;
    context.layer = static_cast<int>(i);
    context.n_layers = static_cast<int>(model.n_layers);
    context.d_model = model.d_model;
    context.zoology = model.zoology;
    context.transformer_block = model.block == "transformer";
    Options options = options_of(entry, layer.mixer);
    make_strictly(entry, "mixer", options,
                  [&](Options& asked) { mixers.find(layer.mixer).make(context, asked, declared); });
    if (i == first) layer.options = options.resolved();
    check(options.resolved() == layer.options, "recipe",
          "expected defaults of mixer '{}' that are equal in all layers; those of layer {} are not",
          layer.mixer, i);
    if (declared.numbers() > kMostNumbers)
      fail_at(entry.place,
              "the mixers up to layer {} declare {} numbers, and at most 2^31 are possible; take a "
              "smaller d_model or other sizes",
              i, declared.numbers());
  }
  return layer;
}

}  // namespace

std::string mixer_hint(const std::string& name) {
  return hint_for(name, mixer_registry().names()) +
         " (`recallbench list mixers` shows all; a plugin's need --plugin FILE.so)";
}

void Resolver::layers(ModelConfig& model, const List& layers) {
  std::string question =
      fmt::format("{} {} {} {}", model.zoology, model.d_model, model.n_layers, model.block);
  for (const Node& entry : layers) {
    question += "\n" + entry.place.text();
    const TableReader table(entry, "an entry of 'layers'", {});
    for (const Entry& parameter : entry.get<Table>()->entries)
      question += "\n" + parameter.key + "=" + to_string(to_option(parameter.key, parameter.value));
  }
  std::vector<LayerConfig>& known = layers_[question];
  if (known.empty()) {
    DeclareOnly declared;
    std::vector<LayerConfig> resolved;
    for (std::size_t i = 0; i < layers.size(); ++i)
      resolved.push_back(resolve(model, layers[i], static_cast<std::int64_t>(i),
                                 static_cast<std::int64_t>(layers.size()), declared));
    known = std::move(resolved);
  }
  model.layers = known;
}

}  // namespace recallbench
