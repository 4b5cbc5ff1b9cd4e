#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/options.h"
#include "kernels/graph/graph.h"

namespace recallbench {

/// What a decoder carries from token to token. `numbers` is what the x-axis of the frontier
/// counts, 4 bytes each; `counters` are positions and the like, which it does not.
struct State {
  std::vector<double> numbers;
  std::vector<std::int64_t> counters;
};

/// The definition of a mixer: one sequence, one token at a time, plain loops in double, no tensor
/// library. It is the oracle of `SequenceMixer::forward`; it may hold parameters, and nothing of
/// the sequence but `State`.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual State start() const = 0;
  /// Reads x [D], changes `state`, writes y [D].
  virtual void step(std::span<const double> x, State& state, std::span<double> y) const = 0;
};

/// A model's parameters on the host, in double, row-major, under the names that were declared.
class HostParameters {
 public:
  explicit HostParameters(std::map<std::string, std::vector<double>> values)
      : values_(std::move(values)) {}
  /// The numbers of `name`; an unknown name is an error.
  const std::vector<double>& at(const std::string& name) const;
  /// The same; of an unknown name none, as of a bias that an option leaves out.
  const std::vector<double>& or_empty(const std::string& name) const;
  const std::map<std::string, std::vector<double>>& all() const { return values_; }
  /// Those whose names begin with `prefix`, without it.
  HostParameters below(const std::string& prefix) const;

 private:
  std::map<std::string, std::vector<double>> values_;
};

/// Where a mixer stands, and so how its Linear weights start.
struct MixerContext {
  int layer = 0;
  int n_layers = 1;
  Index d_model = 64;
  bool zoology = false;           ///< compat = "zoology": the reference's quirks
  bool transformer_block = true;  ///< otherwise one of Mamba's

  /// A Linear of `fan_in` inputs: N(0, 0.02²) in a transformer block, PyTorch's default
  /// U(±1/√fan_in) in Mamba's.
  Initialise linear_weight(Index fan_in) const;
  /// One that projects back into the residual stream: that over the root of the branches that do
  /// so, 2 n_layers in transformer blocks, n_layers in Mamba's.
  Initialise residual_weight(Index fan_in) const;
  /// The same where the reference does not recognise its name (quirk Q5): not scaled under compat.
  Initialise unrecognised_residual_weight(Index fan_in) const;
};

/// Sequences longer than `bound`, the mixer's option of that name, are Error(usage). 0: no bound.
void check_length(const char* mixer, const char* option, Index bound, Index length);

/// Takes declarations; names are relative to the mixer ("Wqkv.weight").
class ParameterDeclarer {
 public:
  virtual ~ParameterDeclarer() = default;
  virtual Parameter declare(ParameterSpec spec) = 0;

  /// A weight matrix or the like, which weight decay acts on.
  Parameter weight(const std::string& name, std::vector<Index> shape, Initialise initialise) {
    return declare({name, std::move(shape), std::move(initialise), true, true});
  }
  /// A bias, norm weight, decay rate or the like: no weight decay (but see quirk Q9).
  Parameter undecayed(const std::string& name, std::vector<Index> shape, Initialise initialise) {
    return declare({name, std::move(shape), std::move(initialise), false, true});
  }
  /// Saved with the weights, never trained.
  Parameter buffer(const std::string& name, std::vector<Index> shape, Initialise initialise) {
    return declare({name, std::move(shape), std::move(initialise), false, false});
  }
};

/// What `forward` works with: the graph under recording and, where only some rows are wanted,
/// which.
class Forward {
 public:
  explicit Forward(Graph& graph) : graph_(graph) {}
  Graph& graph() { return graph_; }
  Tensor parameter(Parameter p) { return graph_.parameter(p); }
  /// None where it was never declared, as a bias that an option leaves out.
  std::optional<Tensor> optional(Parameter p);
  /// Numbers [first, first + count) alone of a Linear, whose bias may be none:
  /// x [R, ..., in] → [R, ..., count].
  Tensor linear_part(const Tensor& x, Parameter weight, Parameter bias, Index first, Index count);
  /// A loss [R, 1, 1] of the mixer's own, which training adds to that of the labels.
  void add_auxiliary_loss(const Tensor& loss) { auxiliary_losses_.push_back(loss); }
  const std::vector<Tensor>& auxiliary_losses() const { return auxiliary_losses_; }

 private:
  Graph& graph_;
  std::vector<Tensor> auxiliary_losses_;
};

/// What is promised of a mixer and checked by the obligations.
struct Traits {
  bool causal = true;
  bool fixed_state = true;  ///< the state's size does not grow with the sequence
  /// Where its accuracy on the tiny MQAR of the obligations ends, behind a short convolution.
  double accuracy_low = 0, accuracy_high = 1;
  /// Tokens after which a fixed state has its full size: those that fill a window.
  Index settles_after = 0;
};

/// One layer's mixing over the sequence. Made once a layer by its factory, which reads the options
/// and declares the parameters.
class SequenceMixer {
 public:
  virtual ~SequenceMixer() = default;
  /// Fast: x [R, B, L, D] → [R, B, L, D], recorded on the graph.
  virtual Tensor forward(Forward& f, const Tensor& x) const = 0;
  /// The same at the batch's labelled positions alone: x [R, B, L, D] → [R, B, n, D].
  /// Default: gather_rows of `forward`.
  virtual Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const;
  /// The definition, for sequences of `length` tokens. Borrows nothing.
  virtual std::unique_ptr<Decoder> decoder(const HostParameters& parameters,
                                           Index length) const = 0;
  /// Bytes by Zoology's formula for a sequence of that length; none where it has none.
  virtual std::optional<double> published_state_size(Index length) const = 0;
  virtual Traits traits() const = 0;
};

using MixerFactory = std::function<std::unique_ptr<SequenceMixer>(const MixerContext&, Options&,
                                                                  ParameterDeclarer&)>;

}  // namespace recallbench
