#include "kernels/ttt/dual_cpu.h"

#include "kernels/ttt/dual.h"

namespace recallbench {
namespace ttt_dual {

template <class T>
void Dual<T>::backward(const TttItem<T>& item, const TttItemGradients<T>& g) {
  item_ = &item;
  std::fill_n(g.sums, ttt_sums(s_), T(0));
  load_model();
  for (Index c = 0; c + 1 < chunks(); ++c) {
    select(c, models_.row(c));
    inner_gradients();
    std::copy_n(models_.row(c), s_.model_numbers(), models_.row(c + 1));
    advance(models_.row(c + 1));
  }
  clear(dmodel_);
  for (Index c = chunks() - 1; c >= 0; --c) {
    select(c, models_.row(c));
    inner_gradients();
    answers();
    chunk_back(g);
  }
  std::copy_n(dmodel_.data, s_.model_numbers(), g.sums + s_.mini_batch + 2 * s_.head_dim);
}

template <class T>
void Dual<T>::chunk_back(const TttItemGradients<T>& g) const {
  T *const dnorm = g.sums + s_.mini_batch, *const dnorm_bias = dnorm + s_.head_dim;
  std::fill_n(dtau_.data, count_, T(0));
  std::fill_n(deta_.data, count_, T(0));
  for (Index l = 0; l < s_.layers(); ++l)
    for (const Matrix<T>& m : {layers_[l].din_k, layers_[l].din_q})
      clear(now(m));
  norm_back(token_rows(g.d_o), dnorm, dnorm_bias);
  layer_back(last());
  if (last() > 0) {
    const LayerBuffers<T>&b = layers_[0], &top = layers_[1];
    fill(now(b.dz_bar),
         [&](Index i, Index j) { return top.din_q.row(i)[j] * gelu_bar(i, j).first(); });
    layer_back(0);
    hidden_gradient_back();
  }
  loss_back(dnorm, dnorm_bias);
  keys_back();
  for (Index i = 0; i < count_; ++i)
    if (1 / static_cast<T>(i + 1) + item_->step[i] >= T(0)) g.sums[i] += dtau_.data[i];
  store(g);
}

template <class T>
void Dual<T>::norm_back(const Matrix<T>& d_o, T* dnorm, T* dnorm_bias) const {
  const Matrix<T> dq = now(layers_[0].din_q), dz_bar = now(layers_[last()].dz_bar);
  for (Index i = 0; i < count_; ++i) {
    const T *d = d_o.row(i), *normed = normed_bar_.row(i);
    for (Index j = 0; j < s_.head_dim; ++j) {
      dq.row(i)[j] += d[j];
      dnorm[j] += d[j] * normed[j];
      dnorm_bias[j] += d[j];
      dz_bar.row(i)[j] = d[j] * item_->norm[j];
    }
    ttt_project(dz_bar.row(i), normed, inverse_bar_.data[i], s_.head_dim, dz_bar.row(i));
  }
}

template <class T>
void Dual<T>::layer_back(Index l) const {
  const LayerBuffers<T>& b = layers_[l];
  const Layer<T> dmodel = layer(dmodel_.data, l), model = layer(model_, l);
  const Matrix<T> spread = now(spread_).columns(0, s_.out(l)), dz_bar = now(b.dz_bar);
  // W_end = W - Σ_j τ_last η_j x_j g_jᵀ, b_end = b - Σ_j τ_last η_j g_j.
  apply(dmodel, in_k(l), spread);
  const T tau_last = tau_.data[count_ - 1];
  for (Index j = 0; j < count_; ++j) {
    T along = 0;
    for (Index n = 0; n < spread.cols; ++n) {
      along += spread.row(j)[n] * b.g.row(j)[n];
      b.dg.row(j)[n] = -tau_last * eta_.data[j] * spread.row(j)[n];
    }
    dtau_.data[count_ - 1] -= along * eta_.data[j];
    deta_.data[j] -= along * tau_last;
  }
  gemm<T>(Transpose::no, Transpose::yes, T(-1), now(b.step_g), dmodel.w, true, now(b.din_k));
  // Z̄ = X W + b - M G.
  gemm<T>(Transpose::no, Transpose::yes, T(-1), dz_bar, now(b.g), false, tile(dm_));
  for (Index i = 0; i < count_; ++i)
    for (Index j = 0; j < count_; ++j) {
      T& d = dm_.row(i)[j];
      const T through = d * b.a.row(i)[j];
      dtau_.data[i] += through * eta_.data[j];
      deta_.data[j] += through * tau_.data[i];
      d = j <= i ? d * tau_.data[i] * eta_.data[j] : T(0);
    }
  gemm<T>(Transpose::yes, Transpose::no, T(-1), tile(b.m), dz_bar, true, now(b.dg));
  gemm<T>(Transpose::no, Transpose::no, T(1), tile(dm_), in_k(l), true, now(b.din_q));
  gemm<T>(Transpose::yes, Transpose::no, T(1), tile(dm_), in_q(l), true, now(b.din_k));
  gemm<T>(Transpose::no, Transpose::yes, T(1), dz_bar, model.w, true, now(b.din_q));
  gemm<T>(Transpose::yes, Transpose::no, T(1), in_q(l), dz_bar, true, dmodel.w);
  add_rows(dz_bar, dmodel.b);
}

template <class T>
void Dual<T>::hidden_gradient_back() const {
  const LayerBuffers<T>&b = layers_[0], &top = layers_[1];
  const Matrix<T> spread = now(spread_).columns(0, s_.hidden), w = layer(model_, 1).w;
  gemm<T>(Transpose::no, Transpose::yes, T(1), now(top.g), w, false, spread);
  for (Index i = 0; i < count_; ++i)
    for (Index j = 0; j < s_.hidden; ++j) {
      const TanhGelu<T> at = gelu(i, j);
      T& d = spread.row(i)[j];
      b.dz.row(i)[j] = b.dg.row(i)[j] * d * at.second();
      d = b.dg.row(i)[j] * at.first();
    }
  gemm<T>(Transpose::no, Transpose::no, T(1), spread, w, true, now(top.dg));
  gemm<T>(Transpose::yes, Transpose::no, T(1), spread, now(top.g), true, layer(dmodel_.data, 1).w);
}

template <class T>
void Dual<T>::loss_back(T* dnorm, T* dnorm_bias) const {
  const LayerBuffers<T>& top = layers_[last()];
  for (Index i = 0; i < count_; ++i) {
    loss_row(i).backward(top.g.row(i), top.dg.row(i), top.dz.row(i), dv_.row(i), dnorm, dnorm_bias);
    for (Index j = 0; j < s_.head_dim; ++j)
      layers_[0].din_k.row(i)[j] -= dv_.row(i)[j];
  }
}

template <class T>
void Dual<T>::keys_back() const {
  for (Index l = last(); l >= 0; --l) {
    const LayerBuffers<T>& b = layers_[l];
    const Layer<T> dmodel = layer(dmodel_.data, l);
    const Matrix<T> dz = now(b.dz);
    gemm<T>(Transpose::yes, Transpose::no, T(1), in_k(l), dz, true, dmodel.w);
    add_rows(dz, dmodel.b);
    gemm<T>(Transpose::no, Transpose::yes, T(1), dz, layer(model_, l).w, true, now(b.din_k));
    if (l > 0)
      for (Index i = 0; i < count_; ++i)
        for (Index j = 0; j < s_.hidden; ++j)
          layers_[0].dz.row(i)[j] += b.din_k.row(i)[j] * gelu(i, j).first();
  }
}

template <class T>
void Dual<T>::store(const TttItemGradients<T>& g) const {
  g.q.write_rows(first_, now(layers_[0].din_q));
  g.k.write_rows(first_, now(layers_[0].din_k));
  g.v.write_rows(first_, now(dv_));
  if (!g.rate.wanted()) return;
  for (Index i = 0; i < count_; ++i)
    g.rate.write(first_ + i, 0, static_cast<T>(s_.scale) * deta_.data[i]);
}

}  // namespace ttt_dual

Index ttt_sums(const TttSize& s) {
  return s.mini_batch + 2 * s.head_dim + s.model_numbers();
}

template <class T>
void ttt_dual_forward(const TttSize& size, const TttItem<T>& item, const Matrix<T>& o, T* scratch) {
  ttt_dual::Dual<T>(size, scratch, false).forward(item, o);
}

template <class T>
void ttt_dual_backward(const TttSize& size, const TttItem<T>& item,
                       const TttItemGradients<T>& gradients, T* scratch) {
  ttt_dual::Dual<T>(size, scratch, true).backward(item, gradients);
}

Index ttt_dual_scratch(const TttSize& size, bool backward) {
  return ttt_dual::Dual<float>(size, nullptr, backward).numbers();
}

#define INSTANTIATE(T)                                                                           \
  template void ttt_dual_forward(const TttSize&, const TttItem<T>&, const Matrix<T>&, T*);       \
  template void ttt_dual_backward(const TttSize&, const TttItem<T>&, const TttItemGradients<T>&, \
                                  T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
