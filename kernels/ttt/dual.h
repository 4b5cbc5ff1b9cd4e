#pragma once

#include <Eigen/Core>
#include <algorithm>

#include "kernels/elementwise/tanh_gelu.h"
#include "kernels/matmul/gemm.h"
#include "kernels/tensor/rows.h"
#include "kernels/ttt/dual_cpu.h"
#include "kernels/ttt/rows_cpu.h"

namespace recallbench::ttt_dual {

/// Hands out matrices; without memory it only counts them.
template <class T>
struct Workspace {
  T* data;
  Index used = 0;

  Matrix<T> take(Index rows, Index cols) {
    const Index stride = padded_cols(cols), begin = used;
    used += rows * stride;
    return {data == nullptr ? nullptr : data + begin, rows, cols, stride};
  }
};

/// to = f(from, row, column), number by number.
template <class T, class F>
void fill(const Matrix<T>& to, const F& f) {
  for (Index i = 0; i < to.rows; ++i)
    for (Index j = 0; j < to.cols; ++j)
      to.row(i)[j] = f(i, j);
}

/// to += the sum of m's rows.
template <class T>
void add_rows(const Matrix<T>& m, T* to) {
  for (Index i = 0; i < m.rows; ++i)
    for (Index j = 0; j < m.cols; ++j)
      to[j] += m.row(i)[j];
}

/// The tanh of GELU's argument, several at a time: std::tanh takes most of the time otherwise.
template <class T>
void gelu_tanh(const Matrix<T>& z, const Matrix<T>& to) {
  using Row = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;
  for (Index i = 0; i < z.rows; ++i) {
    const Row x(z.row(i), z.cols);
    Row(to.row(i), z.cols) =
        (TanhGelu<T>::kScale * (x + TanhGelu<T>::kCubic * x * x.square())).tanh();
  }
}

template <class T>
struct Layer {
  Matrix<T> w;
  T* b;
};

/// A layer's matrices over a mini-batch: inputs by key and by query, Z and Z̄, G and τ_last η ⊙ G,
/// A and M; then gradients.
template <class T>
struct LayerBuffers {
  Matrix<T> in_k, in_q, z, z_bar, g, step_g, a, m;
  Matrix<T> din_k, din_q, dz, dz_bar, dg;
};

/// The dual form of one item, a mini-batch at a time. With A = tril(Q Kᵀ + 1) and
/// M[i, j] = τ_i η_j A[i, j], in each layer of the inner model Z̄ = Q W + b - M G, where G = ∂ℓ/∂Z
/// at the weights of the mini-batch's start. The backward pass is in dual_cpu.cpp.
template <class T>
class Dual {
 public:
  /// `backward`: with the matrices that only backward needs.
  Dual(const TttSize& s, T* scratch, bool backward) : s_(s), work_{scratch} {
    const Index chunk = std::min(s.mini_batch, s.length), f = s.head_dim;
    for (Index l = 0; l < s.layers(); ++l) {
      LayerBuffers<T>& b = layers_[l];
      for (Matrix<T>* m : {&b.in_k, &b.in_q})
        if (l > 0) *m = work_.take(chunk, s.in(l));
      for (Matrix<T>* m : {&b.z, &b.z_bar, &b.g, &b.step_g})
        *m = work_.take(chunk, s.out(l));
      for (Matrix<T>* m : {&b.a, &b.m})
        *m = work_.take(chunk, chunk);
      if (!backward) continue;
      for (Matrix<T>* m : {&b.din_k, &b.din_q})
        *m = work_.take(chunk, s.in(l));
      for (Matrix<T>* m : {&b.dz, &b.dz_bar, &b.dg})
        *m = work_.take(chunk, s.out(l));
    }
    for (Matrix<T>* m : {&normed_, &normed_bar_})
      *m = work_.take(chunk, f);
    for (Matrix<T>* m : {&tanh_, &tanh_bar_})
      *m = work_.take(chunk, s.hidden);
    for (Matrix<T>* m : {&inverse_, &inverse_bar_, &tau_, &eta_})
      *m = work_.take(1, chunk);
    models_ = work_.take(backward ? chunks() : 1, s.model_numbers());
    if (!backward) return;
    dv_ = work_.take(chunk, f);
    spread_ = work_.take(chunk, std::max(s.hidden, f));
    dm_ = work_.take(chunk, chunk);
    dmodel_ = work_.take(1, s.model_numbers());
    for (Matrix<T>* m : {&dtau_, &deta_})
      *m = work_.take(1, chunk);
  }
  Index numbers() const { return work_.used; }

  void forward(const TttItem<T>& item, const Matrix<T>& o) {
    item_ = &item;
    load_model();
    for (Index c = 0; c < chunks(); ++c) {
      select(c, models_.data);
      inner_gradients();
      answers();
      for (Index i = 0; i < count_; ++i) {
        const T *q = item.q.row(first_ + i), *normed = normed_bar_.row(i);
        for (Index j = 0; j < s_.head_dim; ++j)
          o.row(first_ + i)[j] = q[j] + item.norm[j] * normed[j] + item.norm_bias[j];
      }
      advance(models_.data);
    }
  }

  void backward(const TttItem<T>& item, const TttItemGradients<T>& g);

 private:
  Index chunks() const { return (s_.length + s_.mini_batch - 1) / s_.mini_batch; }
  Index last() const { return s_.layers() - 1; }

  /// The rows of the mini-batch at hand.
  Matrix<T> now(const Matrix<T>& m) const { return m.block(0, count_); }
  Matrix<T> tile(const Matrix<T>& m) const { return m.block(0, count_).columns(0, count_); }
  Matrix<T> token_rows(const Matrix<T>& m) const { return m.block(first_, count_); }
  Matrix<T> in_k(Index l) const { return l == 0 ? token_rows(item_->k) : now(layers_[l].in_k); }
  Matrix<T> in_q(Index l) const { return l == 0 ? token_rows(item_->q) : now(layers_[l].in_q); }

  Layer<T> layer(T* model, Index l) const {
    T* begin = model + (l == 0 ? 0 : (s_.in(0) + 1) * s_.out(0));
    return {{begin, s_.in(l), s_.out(l), s_.out(l)}, begin + s_.in(l)*s_.out(l)};
  }

  void load_model() const {
    for (Index l = 0; l < s_.layers(); ++l) {
      const Layer<T> to = layer(models_.data, l);
      copy_rows(item_->weight[l], to.w);
      std::copy_n(item_->bias[l], s_.out(l), to.b);
    }
  }

  void select(Index chunk, T* model) {
    first_ = chunk * s_.mini_batch;
    count_ = std::min(s_.mini_batch, s_.length - first_);
    model_ = model;
    for (Index i = 0; i < count_; ++i) {
      tau_.data[i] = std::max(1 / static_cast<T>(i + 1) + item_->step[i], T(0));
      eta_.data[i] = static_cast<T>(s_.scale) * item_->rate.row(first_ + i)[0];
    }
  }

  /// to = x W + b.
  void apply(const Layer<T>& l, const Matrix<T>& x, const Matrix<T>& to) const {
    fill(to, [&](Index, Index j) { return l.b[j]; });
    gemm<T>(Transpose::no, Transpose::no, T(1), x, l.w, true, to);
  }

  TttLossRow<T> loss_row(Index i) const {
    return {item_->norm,
            item_->norm_bias,
            item_->k.row(first_ + i),
            item_->v.row(first_ + i),
            normed_.row(i),
            inverse_.data[i],
            s_.head_dim};
  }

  /// At Z1 and at Z̄1.
  TanhGelu<T> gelu(Index i, Index j) const { return {layers_[0].z.row(i)[j], tanh_.row(i)[j]}; }
  TanhGelu<T> gelu_bar(Index i, Index j) const {
    return {layers_[0].z_bar.row(i)[j], tanh_bar_.row(i)[j]};
  }

  /// Z, G and τ_last η ⊙ G of each layer.
  void inner_gradients() const {
    for (Index l = 0; l < s_.layers(); ++l) {
      const Matrix<T> z = now(layers_[l].z);
      apply(layer(model_, l), in_k(l), z);
      if (l == last()) break;
      gelu_tanh(z, now(tanh_));
      fill(in_k(l + 1), [&](Index i, Index j) { return gelu(i, j).value(); });
    }
    const LayerBuffers<T>& top = layers_[last()];
    for (Index i = 0; i < count_; ++i) {
      inverse_.data[i] = ttt_normalise(top.z.row(i), s_.head_dim, normed_.row(i));
      loss_row(i).gradient(top.g.row(i));
    }
    if (last() > 0) {
      const Matrix<T> g = now(layers_[0].g);
      gemm<T>(Transpose::no, Transpose::yes, T(1), now(top.g), layer(model_, 1).w, false, g);
      fill(g, [&](Index i, Index j) { return g.row(i)[j] * gelu(i, j).first(); });
    }
    for (Index l = 0; l < s_.layers(); ++l)
      fill(now(layers_[l].step_g), [&](Index i, Index j) {
        return tau_.data[count_ - 1] * eta_.data[i] * layers_[l].g.row(i)[j];
      });
  }

  /// A, M and Z̄ of each layer, and the last Z̄ normalised.
  void answers() const {
    for (Index l = 0; l < s_.layers(); ++l) {
      const LayerBuffers<T>& b = layers_[l];
      gemm<T>(Transpose::no, Transpose::yes, T(1), in_q(l), in_k(l), false, tile(b.a));
      fill(tile(b.a), [&](Index i, Index j) { return j <= i ? b.a.row(i)[j] + 1 : T(0); });
      fill(tile(b.m),
           [&](Index i, Index j) { return tau_.data[i] * eta_.data[j] * b.a.row(i)[j]; });
      apply(layer(model_, l), in_q(l), now(b.z_bar));
      gemm<T>(Transpose::no, Transpose::no, T(-1), tile(b.m), now(b.g), true, now(b.z_bar));
      if (l == last()) break;
      gelu_tanh(now(b.z_bar), now(tanh_bar_));
      fill(in_q(l + 1), [&](Index i, Index j) { return gelu_bar(i, j).value(); });
    }
    for (Index i = 0; i < count_; ++i)
      inverse_bar_.data[i] =
          ttt_normalise(layers_[last()].z_bar.row(i), s_.head_dim, normed_bar_.row(i));
  }

  /// From the weights at the mini-batch's start, which `to` holds too, to those at its end.
  void advance(T* to) const {
    for (Index l = 0; l < s_.layers(); ++l) {
      const Layer<T> model = layer(to, l);
      const Matrix<T> step_g = now(layers_[l].step_g);
      gemm<T>(Transpose::yes, Transpose::no, T(-1), in_k(l), step_g, true, model.w);
      for (Index i = 0; i < count_; ++i)
        for (Index j = 0; j < step_g.cols; ++j)
          model.b[j] -= step_g.row(i)[j];
    }
  }

  /// One mini-batch: dmodel_, of the weights after it, becomes that of those before.
  void chunk_back(const TttItemGradients<T>& g) const;
  /// Through o = q + LN(Z̄).
  void norm_back(const Matrix<T>& d_o, T* dnorm, T* dnorm_bias) const;
  /// From dZ̄ and the gradient of the weights after the mini-batch to those of layer l's inputs, G,
  /// τ, η and the weights before.
  void layer_back(Index l) const;
  /// Through G1 = (G2 W2ᵀ) ⊙ GELU'(Z1).
  void hidden_gradient_back() const;
  /// From the last layer's dG to its dZ and to dv.
  void loss_back(T* dnorm, T* dnorm_bias) const;
  /// Through Z = X W + b, from the last layer to the keys.
  void keys_back() const;
  void store(const TttItemGradients<T>& g) const;

  TttSize s_;
  Workspace<T> work_;
  const TttItem<T>* item_ = nullptr;
  LayerBuffers<T> layers_[2];
  Matrix<T> tanh_{}, tanh_bar_{};  // of GELU's argument at Z1 and Z̄1
  Matrix<T> normed_{}, normed_bar_{}, inverse_{}, inverse_bar_{}, tau_{}, eta_{};
  Matrix<T> models_{};  // forward: the weights at hand; backward: those before every mini-batch
  Matrix<T> dv_{}, spread_{}, dm_{}, dmodel_{}, dtau_{}, deta_{};
  Index first_ = 0, count_ = 0;
  T* model_ = nullptr;  // the weights before the mini-batch at hand
};

}  // namespace recallbench::ttt_dual
