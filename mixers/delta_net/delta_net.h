#pragma once

#include <memory>

#include "mixers/mixer.h"

namespace recallbench {

/// What q and k go through after the convolution; v goes through SiLU.
enum class QkActivation { silu, relu, elu, identity };  // elu: ELU(x) + 1
/// By what q and k of a head are divided: their length, or their sum.
enum class QkNorm { l2, sum };

/// A layer of the delta rule, with or without decay.
struct DeltaNetConfig {
  Index d_model = 0, heads = 1;
  Index keys = 0, values = 0;  ///< dk and dv, of one head
  Index conv = 4;              ///< width of the convolutions of q, k, v; 0: none
  bool beta = true;            ///< strengths from the token; otherwise 1
  bool doubles_beta = false;   ///< strengths up to 2: eigenvalues down to -1
  bool gate = false;           ///< SiLU(g_proj x) after the norm
  bool decay = false;          ///< the gated rule
  QkActivation activation = QkActivation::silu;
  QkNorm norm = QkNorm::l2;
  double norm_eps = 1e-5;

  Index key_dim() const { return heads * keys; }
  Index value_dim() const { return heads * values; }
  /// The state S of every head.
  Index state_numbers() const { return heads * keys * values; }
};

/// The options that delta_net and gated_delta_net have in common. `expand_k` and `expand_v` times
/// d_model are the widths of keys and values; `num_heads` must divide both.
void read_common_options(const MixerContext& context, Options& options, double expand_k,
                         double expand_v, DeltaNetConfig& config);

std::unique_ptr<SequenceMixer> make_delta_net(const DeltaNetConfig& config,
                                              const MixerContext& context,
                                              ParameterDeclarer& declarer);
std::unique_ptr<Decoder> make_delta_net_decoder(const DeltaNetConfig& config,
                                                const HostParameters& parameters);

}  // namespace recallbench
