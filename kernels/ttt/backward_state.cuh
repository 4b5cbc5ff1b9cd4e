#pragma once

// The first half of backward's work on a mini-batch: what is not kept of the forward pass, and what
// follows from the gradient of the next mini-batch's model and of the answers.

#include "kernels/ttt/backward_plan.cuh"

namespace recallbench::ttt_block {

/// One item of backward at one mini-batch. A phase is what lies between two __syncthreads; notation
/// and formulas as in dual_cpu.cpp.
template <Product P, bool Deep, bool Shared>
class BackwardState {
 protected:
  static constexpr int kTop = Deep ? 1 : 0;
  // Fragments of 8 columns that a warp computes of a layer's inputs and outputs.
  static constexpr int in_fragments(int l) { return l == 1 ? 2 : 1; }
  static constexpr int out_fragments(int l) { return Deep && l == 0 ? 2 : 1; }

  __device__ BackwardState(const BackwardPlan& plan, const Memory<Shared>& memory)
      : p_(plan), m_(memory), dmodel_(memory.at(plan.dweights)) {}

  /// The mini-batch that begins at token `first`, and the model before it.
  __device__ void load(const Item& item, const TttViews<float>& in, const Batched<float>& models,
                       const Batched<float>& d_o, int chunk) {
    const int first = chunk * p_.mini_batch;
    count_ = min(p_.mini_batch, static_cast<int>(p_.length) - first);
    load_tokens(p_, item, {tile(p_.q), tile(p_.k), tile(p_.v), tile(p_.d_o)},
                {in.all[0], in.all[1], in.all[2], d_o}, first, count_);
    load_steps(p_, item, in, first, count_, m_.at(p_.tau), m_.at(p_.eta));
    model_ = item.kept(p_, models, chunk);
    if (Shared || p_.holds_model) {
      copy_model(p_, model_, m_.at(p_.weights));
      model_ = m_.at(p_.weights);
    }
    __syncthreads();
    tau_ = m_.at(p_.tau), eta_ = m_.at(p_.eta), tau_last_ = tau_[count_ - 1];
  }

  __device__ Tile tile(const Place& p) const { return m_.tile(p); }
  __device__ static Tile weight(const Plan& p, float* model, int l) {
    return {model + p.model.w[l].offset, p.model.w[l].stride};
  }
  __device__ Tile weight(int l) const { return weight(p_, model_, l); }
  __device__ Tile dweight(int l) const { return weight(p_, dmodel_, l); }

  /// Z, G, A, M and Z̄ of each layer with the last Z̄ normalised and its gradient, X dW + db in
  /// place of dG and then dG of the next weights, and what these give the keys.
  __device__ void forward_again() const {
    {
      Turns turns;
      const float* b = model_ + p_.model.b[0].offset;
      const Tile z = tile(Deep ? p_.z : p_.normed), x = tile(p_.layers[1].in_k);
      apply<0>(turns, tile(p_.k), weight(0), [&](int i, int j, float value) {
        z(i, j) = value + b[j];
        if constexpr (Deep) x(i, j) = gelu(value + b[j]).value();
      });
      const Tile z_bar = tile(Deep ? p_.z_bar : p_.answer);
      apply<0>(turns, tile(p_.q), weight(0),
               [&](int i, int j, float value) { z_bar(i, j) = value + b[j]; });
      spread<0>(turns);
      mix(turns, 0);
    }
    __syncthreads();
    if constexpr (Deep) {
      Turns turns;
      const float* b = model_ + p_.model.b[1].offset;
      const Tile z = tile(p_.normed);
      apply<1>(turns, tile(p_.layers[1].in_k), weight(1),
               [&](int i, int j, float value) { z(i, j) = value + b[j]; });
      spread<1>(turns);
      __syncthreads();
    }
    loss_gradients();
    __syncthreads();
    if constexpr (Deep) hidden_again();
    {
      Turns turns;
      const Tile answer = tile(p_.answer);
      subtract_mixed<kTop>(turns, [&](int i, int j, float x) { answer(i, j) -= x; });
      if constexpr (!Deep) keys_through_step<0>(turns, tile(p_.dk));
    }
    __syncthreads();
    norm_back();
    __syncthreads();
  }

  /// The layer between, and the products of Z̄ that follow it.
  __device__ void hidden_again() const {
    {
      Turns turns;
      const Tile g = tile(p_.layers[0].g), z = tile(p_.z);
      back_through(turns, tile(p_.layers[1].g),
                   [&](int i, int j, float x) { g(i, j) = x * gelu(z(i, j)).first(); });
      keys_through_step<1>(turns, tile(p_.dhidden_k));
    }
    __syncthreads();
    {
      Turns turns;
      const Tile z_bar = tile(p_.z_bar), x = tile(p_.layers[1].in_q);
      subtract_mixed<0>(turns, [&](int i, int j, float value) {
        const float now = z_bar(i, j) - value;
        z_bar(i, j) = now;
        x(i, j) = gelu(now).value();
      });
      keys_through_step<0>(turns, tile(p_.dk));
      rows(turns, p_.rows, [&](int i) { step_back(0, i); });
    }
    __syncthreads();
    Turns turns;
    const float* b = model_ + p_.model.b[1].offset;
    const Tile answer = tile(p_.answer);
    apply<1>(turns, tile(p_.layers[1].in_q), weight(1),
             [&](int i, int j, float value) { answer(i, j) = value + b[j]; });
    mix(turns, 1);
    __syncthreads();
  }

  /// x W of layer L.
  template <int L, class Store>
  __device__ void apply(Turns& turns, const Tile& x, const Tile& w, const Store& store) const {
    product<out_fragments(L)>(
        turns, p_.rows, p_.out_padded[L],
        [&](auto& c, const Spot& s) { add_ab<P>(c, s, x, w, p_.in_padded[L]); }, store);
  }
  /// d W2ᵀ.
  template <class Store>
  __device__ void back_through(Turns& turns, const Tile& d, const Store& store) const {
    const Tile w = weight(1);
    product<in_fragments(1)>(
        turns, p_.rows, p_.in_padded[1],
        [&](auto& c, const Spot& s) { add_abt<P>(c, s, d, w, p_.out_padded[1]); }, store);
  }
  template <int L>
  __device__ void spread(Turns& turns) const {
    const float* db = dmodel_ + p_.model.b[L].offset;
    const Tile dg = tile(p_.layers[L].dg);
    apply<L>(turns, tile(p_.layers[L].in_k), dweight(L),
             [&](int i, int j, float x) { dg(i, j) = x + db[j]; });
  }
  /// A and M.
  __device__ void mix(Turns& turns, int l) const {
    const LayerPlaces& at = p_.layers[l];
    const Tile a = tile(at.a), m = tile(at.m);
    lower_product<P>(turns, p_.rows, tile(at.in_q), tile(at.in_k), p_.in_padded[l],
                     [&](int i, int j, float x) {
                       a(i, j) = j <= i ? x + 1.0f : 0.0f;
                       m(i, j) = j <= i ? tau_[i] * eta_[j] * (x + 1.0f) : 0.0f;
                     });
  }
  /// store(M G).
  template <int L, class Store>
  __device__ void subtract_mixed(Turns& turns, const Store& store) const {
    const Tile m = tile(p_.layers[L].m), g = tile(p_.layers[L].g);
    product<out_fragments(L)>(
        turns, p_.rows, p_.out_padded[L],
        [&](auto& c, const Spot& s) { add_ab<P>(c, s, m, g, s.row + 16); }, store);
  }
  /// to = -τ_last η ⊙ G dWᵀ: from W_end = W - Xᵀ (τ_last η ⊙ G).
  template <int L>
  __device__ void keys_through_step(Turns& turns, const Tile& to) const {
    const Tile g = tile(p_.layers[L].g), dw = dweight(L);
    product<in_fragments(L)>(
        turns, p_.rows, p_.in_padded[L],
        [&](auto& c, const Spot& s) { add_abt<P>(c, s, g, dw, p_.out_padded[L]); },
        [&](int i, int j, float x) { to(i, j) = -tau_last_ * eta_[i] * x; });
  }
  /// The same for row i of G, of which dG holds X dW + db, for τ_last and for η.
  __device__ void step_back(int l, int i) const {
    const float* g = tile(p_.layers[l].g).row(i);
    float *dg = tile(p_.layers[l].dg).row(i), along = 0;
    lanes(p_.out_padded[l], [&](int j) {
      along += dg[j] * g[j];
      dg[j] *= -tau_last_ * eta_[i];
    });
    along = row_sum(along);
    if (row_lane() != 0) return;
    float &deta = m_.at(p_.deta)[i], &last = m_.at(p_.last)[i];
    deta = (l == kTop ? 0.0f : deta) - along * tau_last_;
    last = (l == kTop ? 0.0f : last) + along * eta_[i];
  }

  __device__ LossRow loss_row(int i) const {
    return {m_.at(p_.norm), m_.at(p_.norm_bias), tile(p_.k).row(i), tile(p_.v).row(i)};
  }
  /// The last layer's Z, normalised in place, and G.
  __device__ void loss_gradients() const {
    const int f = p_.in[0];
    Turns turns;
    rows(turns, p_.rows, [&](int i) {
      float *z = tile(p_.normed).row(i), *g = tile(p_.layers[kTop].g).row(i);
      const RowNorm normed(z, f);
      const LossRow loss = loss_row(i);
      lanes(f, [&](int j) { z[j] = normed(z[j]); });
      if (row_lane() == 0) m_.at(p_.inverse)[i] = normed.inverse;
      project(
          f, p_.in_padded[0], normed.inverse,
          [&](int j) { return loss.residual(j, z[j]) * loss.norm[j]; }, [&](int j) { return z[j]; },
          [&](int j, float x) { g[j] = x; });
      step_back(kTop, i);
    });
  }
  /// Through o = q + LN(Z̄), which is normalised in place.
  __device__ void norm_back() const {
    const int f = p_.in[0];
    const float* norm = m_.at(p_.norm);
    Turns turns;
    rows(turns, p_.rows, [&](int i) {
      float *z = tile(p_.answer).row(i), *dz = tile(p_.layers[kTop].dz_bar).row(i);
      const float* d = tile(p_.d_o).row(i);
      const RowNorm normed(z, f);
      lanes(f, [&](int j) { z[j] = normed(z[j]); });
      project(
          f, p_.in_padded[0], normed.inverse, [&](int j) { return d[j] * norm[j]; },
          [&](int j) { return z[j]; }, [&](int j, float x) { dz[j] = x; });
    });
  }

  const BackwardPlan& p_;
  Memory<Shared> m_;
  float *dmodel_, *model_ = nullptr, *tau_ = nullptr, *eta_ = nullptr;
  float tau_last_ = 0;
  int count_ = 0;
};

}  // namespace recallbench::ttt_block
