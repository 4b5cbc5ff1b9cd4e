#include "mixers/model.h"

#include <limits>

#include "kernels/double_residual_norm/double_residual_norm.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/embedding_norm/embedding_norm.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/label_cross_entropy/label_cross_entropy.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "mixers/registry.h"
#include "mixers/state_mixer.h"
#include "mixers/use_mixer.h"

namespace recallbench {

/// Collects the declarations of a whole model; `prefix` is put before every name.
class ModelDeclarer : public ParameterDeclarer {
 public:
  explicit ModelDeclarer(bool zoology) : zoology_(zoology) {}

  Parameter declare(ParameterSpec spec) override {
    spec.name = prefix + spec.name;
    check_declaration(spec);
    if (zoology_) spec.decays = true;  // Q9: weight decay on every parameter
    specs.push_back(std::move(spec));
    return {static_cast<int>(specs.size()) - 1};
  }

  std::string prefix;
  std::vector<ParameterSpec> specs;

 private:
  bool zoology_;
};

Model::Model(const ModelConfig& config, DType type, Index replicas, Device device)
    : config_(config) {
  if (config_.layers.empty())
    fail(ErrorKind::usage, "model",
         "`layers` is empty; give at least one, such as {{mixer = \"attention\"}}");
  if (config_.block != "transformer" && config_.block != "mamba" && config_.block != "mamba2")
    fail(ErrorKind::usage, "model", "there is no block '{}'{}", config_.block,
         hint_for(config_.block, {"transformer", "mamba", "mamba2"}));
  ModelDeclarer declarer(config_.zoology);
  declare(declarer);
  parameters_ = std::make_unique<Parameters>(std::move(declarer.specs), type, replicas, device);
}

Model::~Model() = default;

void Model::declare(ModelDeclarer& declarer) {
  const Index d = config_.d_model;
  const bool transformer = config_.block == "transformer";
  const auto layer_norm = [&](const std::string& name) -> Norm {
    const Parameter weight = declarer.undecayed(name + ".weight", {d}, constant(1));
    return {weight, declarer.undecayed(name + ".bias", {d}, constant(0))};
  };
  declarer.prefix = "backbone.";
  words_ = declarer.declare(
      {"embeddings.word_embeddings.weight", {config_.vocab_size, d}, normal(0.02), true, true});
  if (config_.max_position_embeddings > 0)
    positions_ = declarer.weight("embeddings.position_embeddings.weight",
                                 {config_.max_position_embeddings, d}, normal(0.02));
  for (int i = 0; i < config_.n_layers; ++i) {
    const LayerConfig& entry = layer_config(static_cast<std::size_t>(i));
    const std::string base = fmt::format("backbone.layers.{}.", i);
    const MixerContext context{i, static_cast<int>(config_.n_layers), d, config_.zoology,
                               transformer};
    Layer layer;
    layer.prefix = base + (transformer ? "sequence_mixer." : "mixer.");
    // The reference's Hybrid wrapper stands between where there are several entries.
    if (transformer && config_.layers.size() > 1) layer.prefix += "mixer.";
    declarer.prefix = layer.prefix;
    Options options(fmt::format("mixer '{}'", entry.mixer), entry.options);
    for (const auto& [key, value] : entry.options)
      options.set(key, value, entry.where);
    layer.mixer =
        make_with(mixer_registry().find(entry.mixer), entry.mixer, context, options, declarer);
    options.finish();
    declarer.prefix = base;
    if (transformer) {
      layer.norm1 = layer_norm("norm1");
      declarer.prefix = base + "state_mixer.";
      layer.state_mixer = make_state_mixer(config_.state_mixer, context, declarer);
      declarer.prefix = base;
      // Q1: in the reference an identity state mixer still adds LN2(x) to the stream.
      if (layer.state_mixer || config_.zoology) layer.norm2 = layer_norm("norm2");
    } else {
      layer.norm1.weight = declarer.undecayed("norm.weight", {d}, constant(1));
    }
    layers_.push_back(std::move(layer));
  }
  declarer.prefix = "";
  final_norm_ = layer_norm("backbone.ln_f");
  head_ = words_;
  if (!config_.tie_embeddings) {
    head_ = declarer.weight("lm_head.weight", {config_.vocab_size, d}, normal(0.02));
    declarer.specs[static_cast<std::size_t>(words_.id)].trainable = false;
  }
}

ResidualNorm Model::begin(Forward& f, Index examples, Index length, double p,
                          const Norm& norm) const {
  Graph& graph = f.graph();
  const Tensor words = graph.parameter(words_), weight = graph.parameter(norm.weight);
  const std::optional<Tensor> bias = f.optional(norm.bias);
  if (positions_.id < 0) return embedding_norm(graph, words, examples, length, p, weight, bias);
  const Tensor embedded = embedding(graph, words, examples, length);
  const Tensor stream =
      dropout(graph, add_positions(graph, embedded, graph.parameter(positions_)), p);
  return {stream,
          bias ? layer_norm(graph, stream, weight, *bias) : rms_norm(graph, stream, weight)};
}

ResidualNorm Model::residual(Forward& f, const Tensor& r, const Tensor& h, double p,
                             const Norm& norm) const {
  Graph& graph = f.graph();
  return residual_norm(graph, r, h, p, graph.parameter(norm.weight), f.optional(norm.bias));
}

ResidualNorm Model::end_layer(Forward& f, const Layer& layer, const Tensor& r, const Tensor& h,
                              double p, const Norm& next) const {
  Graph& graph = f.graph();
  if (!layer.norm2) return residual(f, r, h, p, next);
  if (!layer.state_mixer)
    return double_residual_norm(
        graph, r, h, p, {graph.parameter(layer.norm2->weight), graph.parameter(layer.norm2->bias)},
        {graph.parameter(next.weight), graph.parameter(next.bias)});
  const ResidualNorm mixed = residual(f, r, h, p, *layer.norm2);
  return residual(f, mixed.stream, layer.state_mixer->forward(f, mixed.normalised), p, next);
}

Tensor Model::record_stream(Forward& f, Index examples, Index length, Index labels) const {
  // Q2: the reference's Mamba blocks have no dropout at all.
  const bool drops = config_.block == "transformer" || !config_.zoology;
  const double p = drops ? config_.resid_dropout : 0.0;
  // The residual stream, and its norm, which the next branch reads.
  ResidualNorm r =
      begin(f, examples, length, drops ? config_.embed_dropout : 0.0, layers_[0].norm1);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const bool last = i + 1 == layers_.size();
    const Norm& next = last ? final_norm_ : layers_[i + 1].norm1;
    if (labels > 0 && last) {
      const Tensor h = forward_of(*layer.mixer, layer_config(i).mixer, f, r.normalised, labels);
      r = end_layer(f, layer, gather_rows(f.graph(), r.stream, labels), h, p, next);
    } else {
      r = end_layer(f, layer, r.stream,
                    forward_of(*layer.mixer, layer_config(i).mixer, f, r.normalised, 0), p, next);
    }
  }
  return r.normalised;
}

RecordedLoss Model::record_loss(Graph& graph, Index examples, Index length, Index labels,
                                bool with_auxiliary) const {
  Forward f(graph);
  const Tensor h = record_stream(f, examples, length, labels);
  const LabelCrossEntropy out = label_cross_entropy(graph, h, graph.parameter(head_));
  for (const Tensor& tensor : {out.loss, out.row_loss, out.correct})
    graph.keep(tensor);
  RecordedLoss recorded{out.loss, out.row_loss, out.correct, std::nullopt};
  for (const Tensor& loss : f.auxiliary_losses())
    recorded.auxiliary = recorded.auxiliary ? add(graph, *recorded.auxiliary, loss) : loss;
  if (recorded.auxiliary) graph.keep(*recorded.auxiliary);
  if (graph.training())
    graph.set_root(with_auxiliary && recorded.auxiliary ? add(graph, out.loss, *recorded.auxiliary)
                                                        : out.loss);
  return recorded;
}

Tensor Model::record_logits(Graph& graph, Index examples, Index length) const {
  Forward f(graph);
  const Tensor logits =
      linear(graph, record_stream(f, examples, length, 0), graph.parameter(head_));
  graph.keep(logits);
  return logits;
}

std::optional<double> Model::published_state_bytes(Index length) const {
  double bytes = 0;
  for (const Layer& layer : layers_) {
    const std::optional<double> of_layer = layer.mixer->published_state_size(length);
    if (!of_layer) return std::nullopt;
    bytes += *of_layer;
  }
  return bytes;
}

std::optional<double> Model::reference_state_bytes(Index length) const {
  if (config_.zoology && config_.block == "mamba") return std::nullopt;  // Q11
  return published_state_bytes(length);
}

}  // namespace recallbench
