#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

// Feature maps φ of linear attention, for queries and keys alike. Tensors are [R, ..., cols];
// gradients follow the formulas as they stand.

enum class ElementwiseMap {
  relu,     ///< max(z, 0), but at least 1e-12 (no gradient below that)
  pos_elu,  ///< ELU(z) + 1: z + 1 where z > 0, e^z elsewhere
  square,   ///< z²
};

/// φ(x) of z = temperature · x, number by number; the shape stays.
Tensor elementwise_features(Graph& graph, const Tensor& x, ElementwiseMap map,
                            double temperature = 1.0);

struct CosformerOptions {
  Index heads = 1;
  Index horizon = 1;           ///< length M at which the angle reaches π/2
  bool rounds_angles = false;  ///< (π/2)(t + 1) is rounded to 24 bits before the division by M
  bool at_labels = false;      ///< row i of an example stands at its labelled position i
};

/// φ(x_t) = [max(x, 0) sin θ_t; max(x, 0) cos θ_t] with θ_t = (π/2)(t + 1)/M, in each head.
/// x [R, B, n, H·f] → [R, B, n, H·2f]. Qin et al., "cosFormer: rethinking softmax in attention",
/// 2022.
Tensor cosformer_features(Graph& graph, const Tensor& x, const CosformerOptions& options);

/// φ_j = exp(a p_j - a²|x|²/2) / √m with a = f^(-1/4), for projections p = Ω x, row by row.
/// x [R, ..., f], p [R, ..., m] with the same rows → [R, ..., m]. With `less_maximum`
/// φ_j = exp(a (p_j - max p)) / √m instead, which is the same times a factor of the row.
/// Choromanski et al., "Rethinking attention with Performers", 2021.
Tensor exponential_features(Graph& graph, const Tensor& x, const Tensor& projections,
                            bool less_maximum);

/// φ = (a² + b) / √2, number by number, for two tensors of one shape.
Tensor polynomial_features(Graph& graph, const Tensor& a, const Tensor& b);

/// φ(x) = [softmax(scale · x); softmax(-scale · x)], row by row, each at least 1e-12 (no gradient
/// below that); with `jointly` one softmax over all 2f numbers instead of two, and no bound.
/// x [R, ..., f] → [R, ..., 2f]. Zhang et al., "The hedgehog and the porcupine", 2024.
Tensor softmax_features(Graph& graph, const Tensor& x, double scale, bool jointly);

}  // namespace recallbench
