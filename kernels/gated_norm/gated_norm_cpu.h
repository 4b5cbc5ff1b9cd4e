#pragma once

#include "kernels/gated_norm/gated_norm.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// x, gate [R, rows, G·D]; weight [R, 1, D]; saved [R, rows, G] receives 1 / sqrt(mean(u²) + eps).
template <class T>
struct GatedNormViews {
  Batched<T> x, gate, weight, saved;
};
template <class T>
struct GatedNormGradients {
  Gradient<T> x, gate, weight;
};

/// CPU twins of gated_norm; scratch holds the numbers that the functions below say.
template <class T>
void gated_norm_forward_cpu(const GatedNormOptions& options, const GatedNormViews<T>& in,
                            const Batched<T>& y, T* scratch);
template <class T>
void gated_norm_backward_cpu(const GatedNormOptions& options, const GatedNormViews<T>& in,
                             const Batched<T>& dy, const GatedNormGradients<T>& gradients,
                             T* scratch);
Index gated_norm_forward_scratch(Index rows, Index group);
Index gated_norm_backward_scratch(Index rows, Index group);

}  // namespace recallbench
