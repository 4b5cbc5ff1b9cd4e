#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// y = a + b; two tensors of one shape.
Tensor add(Graph& graph, const Tensor& a, const Tensor& b);
/// y = a ⊙ b; two tensors of one shape.
Tensor multiply(Graph& graph, const Tensor& a, const Tensor& b);

/// Functions of one number.
enum class Activation {
  silu,       ///< x σ(x)
  gelu,       ///< x Φ(x), exact (erf)
  relu,       ///< max(x, 0); derivative 0 at 0
  softplus,   ///< log(1 + e^x), x above 20 (as PyTorch has it)
  sigmoid,    ///< 1 / (1 + e^-x)
  gelu_tanh,  ///< x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2
  tanh,
};

/// y = f(x), element by element.
Tensor activate(Graph& graph, Activation f, const Tensor& x);
/// A gate: y ⊙ f(z); two tensors of one shape.
Tensor gate(Graph& graph, const Tensor& y, Activation f, const Tensor& z);

}  // namespace recallbench
