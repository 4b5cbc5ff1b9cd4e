#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

enum class GateActivation {
  silu,     ///< z σ(z)
  sigmoid,  ///< σ(z)
};

enum class GateOrder {
  after_norm,   ///< y = rms(x) ⊙ weight ⊙ act(gate)
  before_norm,  ///< y = rms(x ⊙ act(gate)) ⊙ weight
};

struct GatedNormOptions {
  GateOrder order = GateOrder::after_norm;
  GateActivation activation = GateActivation::silu;
  double eps = 1e-5;
};

/// RMSNorm with a gate, over each group of D columns by itself: rms(u) = u / sqrt(mean(u²) + eps).
/// x, gate [R, ..., G·D]; weight [R, 1, D], shared by the groups → y [R, ..., G·D].
Tensor gated_norm(Graph& graph, const Tensor& x, const Tensor& gate, const Tensor& weight,
                  const GatedNormOptions& options = {});

}  // namespace recallbench
