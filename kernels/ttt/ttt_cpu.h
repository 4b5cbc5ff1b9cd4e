#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

inline constexpr double kTttNormEps = 1e-6;

/// B, L, H, f of a ttt, its mini-batch b, the inner model's hidden numbers m (0: one layer), and
/// the scale of the rates.
struct TttSize {
  Index examples, length, heads, head_dim, mini_batch, hidden;
  double scale;

  Index layers() const { return hidden > 0 ? 2 : 1; }
  Index in(Index layer) const { return layer == 0 ? head_dim : hidden; }
  Index out(Index layer) const { return layer + 1 == layers() ? head_dim : hidden; }
  /// Numbers of one head's inner model: W and b of each layer.
  Index model_numbers() const {
    Index numbers = 0;
    for (Index l = 0; l < layers(); ++l)
      numbers += (in(l) + 1) * out(l);
    return numbers;
  }
};

inline constexpr int kTttInputs = 11;

/// In the order q, k, v, rate, step, norm, norm_bias, W1, b1, W2, b2; the last two without data
/// where there is one layer.
template <class T>
struct TttViews {
  Batched<T> all[kTttInputs];
};
template <class T>
struct TttGradients {
  Gradient<T> all[kTttInputs];
};

/// CPU twins of ttt; scratch holds ttt_scratch numbers.
template <class T>
void ttt_forward_cpu(const TttSize& size, const TttViews<T>& in, const Batched<T>& o, T* scratch);
template <class T>
void ttt_backward_cpu(const TttSize& size, const TttViews<T>& in, const Batched<T>& d_o,
                      const TttGradients<T>& gradients, T* scratch);
Index ttt_scratch(const TttSize& size, bool backward);

}  // namespace recallbench
