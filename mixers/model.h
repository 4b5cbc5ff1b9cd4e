#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/residual_norm/residual_norm.h"
#include "mixers/mixer.h"
#include "mixers/model_config.h"

namespace recallbench {

class StateMixer;
class ModelDecoder;

/// What recording a model on a graph gives.
struct RecordedLoss {
  Tensor loss;                      ///< [R, 1, 1]
  Tensor row_loss;                  ///< [R, B n, 1]
  Tensor correct;                   ///< [R, B n, 1]
  std::optional<Tensor> auxiliary;  ///< [R, 1, 1]: the mixers' own losses, where they have any
};

/// The language model around the mixers (as in the public Zoology): embedding, n_layers blocks of
/// sequence mixer and state mixer with pre-norm residuals, final LayerNorm, tied or separate head.
/// Owns the parameters of R replicas; records any number of graphs over them.
class Model {
 public:
  /// Makes the mixers (unknown mixers and options are Error(usage)) and declares the parameters;
  /// their values are zero until `initialise` or `Parameters::set`.
  Model(const ModelConfig& config, DType type, Index replicas, Device device = Device::cpu);
  ~Model();

  Parameters& parameters() { return *parameters_; }
  const Parameters& parameters() const { return *parameters_; }
  const ModelConfig& config() const { return config_; }

  /// Loss and hits at the batch's labels; only labelled rows exist after the last mixer. Backward
  /// begins at the loss, and `with_auxiliary` at its sum with the mixers' own.
  RecordedLoss record_loss(Graph& graph, Index examples, Index length, Index labels,
                           bool with_auxiliary = true) const;
  /// Logits at every position, [R, B, L, V].
  Tensor record_logits(Graph& graph, Index examples, Index length) const;

  /// Token by token, in double, with the values of `replica`: the definition that the graphs are
  /// compared with. Snapshots the parameters.
  ModelDecoder decoder(Index replica, Index length) const;

  /// Bytes that the decoders carry after `length` tokens, 4 a number, summed over layers; each
  /// decoder is really run over `length` tokens.
  std::int64_t measured_state_bytes(Index length) const;
  /// Zoology's figure: 4 times the sum of its layers' formulas; none where a layer has none.
  std::optional<double> published_state_bytes(Index length) const;
  /// What the reference's model itself returns: the same, but under compat none for Mamba blocks,
  /// which it does not recognise (quirk Q11).
  std::optional<double> reference_state_bytes(Index length) const;

  const SequenceMixer& mixer(int layer) const {
    return *layers_[static_cast<std::size_t>(layer)].mixer;
  }

 private:
  friend class ModelDecoder;

  /// A norm's parameters; without bias it is an RMSNorm, else a LayerNorm.
  struct Norm {
    Parameter weight, bias;
  };
  struct Layer {
    std::string prefix;  ///< of the mixer's parameters
    std::unique_ptr<SequenceMixer> mixer;
    Norm norm1;
    std::optional<Norm> norm2;                ///< none where the second half is left out
    std::unique_ptr<StateMixer> state_mixer;  ///< none: that half is norm2 alone
  };

  void declare(class ModelDeclarer& declarer);
  const LayerConfig& layer_config(std::size_t layer) const {
    return config_.layers[layer % config_.layers.size()];
  }
  /// dropout(embeddings, p), and its norm.
  ResidualNorm begin(Forward& f, Index examples, Index length, double p, const Norm& norm) const;
  /// r + dropout(h, p), and its norm.
  ResidualNorm residual(Forward& f, const Tensor& r, const Tensor& h, double p,
                        const Norm& norm) const;
  /// The end of a layer: h, what its mixer returned, into the stream, and the norm `next` of what
  /// follows.
  ResidualNorm end_layer(Forward& f, const Layer& layer, const Tensor& r, const Tensor& h, double p,
                         const Norm& next) const;
  /// The stream after the final norm: at all positions, or (labels > 0) at the labelled ones.
  Tensor record_stream(Forward& f, Index examples, Index length, Index labels) const;

  ModelConfig config_;
  std::vector<Layer> layers_;
  Parameter words_, positions_, head_;
  Norm final_norm_;
  std::unique_ptr<Parameters> parameters_;
};

/// A model as its definition: see Model::decoder.
class ModelDecoder {
 public:
  ModelDecoder(const Model& model, HostParameters parameters, Index length);

  struct ModelState {
    std::vector<State> layers;
    Index position = 0;
  };
  ModelState start() const;
  /// Reads one token, changes `state`, returns the logits [V].
  std::vector<double> step(std::int32_t token, ModelState& state) const;

 private:
  const Model& model_;
  HostParameters parameters_;
  std::vector<HostParameters> state_mixers_;  ///< those of each layer's
  std::vector<std::unique_ptr<Decoder>> decoders_;
};

}  // namespace recallbench
