#pragma once

// What the backward kernel of ttt has in memory, and where its block puts gradients.

#include "kernels/ttt/block.cuh"

namespace recallbench::ttt_block {

/// Of a layer, [rows, in] or [rows, out] of it: X, X by query, G, and gradients; dG begins as
/// X dW + db. A becomes dM ⊙ A.
struct LayerPlaces {
  Place in_k, in_q, g, dg, dz_bar, dz, a, m;
};

struct BackwardPlan : Plan {
  BackwardPlan(const TttSize& s, Index replicas) : Plan(s, replicas) {
    Placing placing;
    const Index top = s.layers() - 1;
    for (Place* p : {&tau, &eta, &dtau, &deta, &last, &inverse})
      *p = placing.take(1, rows);
    for (Place* p : {&norm, &norm_bias, &dnorm, &dnorm_bias})
      *p = placing.take(1, s.head_dim);
    dstep = placing.take(1, s.mini_batch);
    dm = placing.take(rows, rows);
    for (Index l = 0; l <= top; ++l)
      layers[l].a = placing.take(rows, rows), layers[l].m = placing.take(rows, rows);
    for (Place* p : {&q, &k, &v, &d_o, &normed, &answer, &dr, &dq, &dk, &layers[top].g,
                     &layers[top].dg, &layers[top].dz_bar, &layers[top].dz})
      *p = placing.take(rows, s.head_dim);
    if (s.hidden > 0) place_hidden(placing, s.hidden);
    layers[0].in_k = k, layers[0].in_q = q;
    dweights = {placing.take_numbers(model.numbers), 0};
    holds_model = placing.fits(model.numbers);
    if (holds_model) weights = {placing.take_numbers(model.numbers), 0};
    shared_bytes = placing.shared_bytes();
    global = placing.global_numbers();
  }

  bool in_shared() const { return global == 0 && holds_model; }

  Place q, k, v, d_o, normed, answer, dr, dq, dk;  // [rows, f]; Z and Z̄, then normalised
  Place tau, eta, dtau, deta, last, inverse;       // `last`: what is subtracted from dτ_last
  Place norm, norm_bias, dnorm, dnorm_bias, dstep, dm, weights, dweights;
  Place z, z_bar, dhidden_k;  // of the layer between: Z, Z̄ and the gradient of X
  LayerPlaces layers[2];
  bool holds_model;  ///< otherwise it is read where it is kept
  std::size_t shared_bytes;

 private:
  void place_hidden(Placing& placing, Index hidden) {
    for (Place* p : {&z, &z_bar, &dhidden_k, &layers[1].in_k, &layers[1].in_q, &layers[0].g,
                     &layers[0].dg, &layers[0].dz_bar})
      *p = placing.take(rows, hidden);
    layers[0].dz = z_bar;  // which is not needed any more by then
  }
};

/// Where items put their shares of the parameters' gradients.
struct Shares {
  float* step;      ///< [R, B, H, b]
  float* norms;     ///< [R, B, 2, H, f]: of γ and β
  float* layer[2];  ///< [R, B, H in out + H out]: of W and b
};

}  // namespace recallbench::ttt_block
