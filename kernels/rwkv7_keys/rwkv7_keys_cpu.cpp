#include "kernels/rwkv7_keys/rwkv7_keys_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 1024;
constexpr double kEps = 1e-6;

/// 1 / sqrt(Σ (k ⊙ k_k)² + eps) of one head.
template <class T>
T inverse_length(const T* k, const T* k_k, Index n) {
  T squares = 0;
#pragma omp simd reduction(+ : squares)
  for (Index c = 0; c < n; ++c)
    squares += k[c] * k_k[c] * (k[c] * k_k[c]);
  return T(1) / std::sqrt(squares + T(kEps));
}

template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

/// One head of one row. `dk` receives its gradient, `dlogit` too; dk_k and dk_a are added to.
template <class T>
struct HeadBack {
  const T *k, *logit, *k_k, *k_a, *dremoval, *dreplacement, *drate;
  Index n;

  void run(T* dk, T* dlogit, T* dk_k, T* dk_a) const {
    const T inverse = inverse_length(k, k_k, n);
    T along = 0;  // <κ, dκ>
#pragma omp simd reduction(+ : along)
    for (Index c = 0; c < n; ++c)
      along += k[c] * k_k[c] * inverse * dremoval[c];
    for (Index c = 0; c < n; ++c) {
      const T dz = inverse * (dremoval[c] - k[c] * k_k[c] * inverse * along);
      const T a = sigmoid(logit[c]);
      dk[c] = dz * k_k[c] + dreplacement[c] * (1 + (a - 1) * k_a[c]);
      dlogit[c] = (drate[c] + dreplacement[c] * k[c] * k_a[c]) * a * (1 - a);
      dk_k[c] += dz * k[c];
      dk_a[c] += dreplacement[c] * k[c] * (a - 1);
    }
  }
};

}  // namespace

Index rwkv7_keys_scratch(Index rows, Index cols) {
  return blocks_of(rows, kRowBlock) * 4 * cols;
}

template <class T>
void rwkv7_keys_forward_cpu(Index heads, const Rwkv7KeyViews<T>& in,
                            const Rwkv7KeyOutputs<T>& out) {
  const Index n = in.k.cols / heads;
  for (Index r = 0; r < in.k.replicas; ++r) {
    const T *k_k = in.k_k.replica(r).data, *k_a = in.k_a.replica(r).data;
    parallel_ranges(in.k.rows, kRowBlock, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i) {
        const T *k = in.k.replica(r).row(i), *logit = in.logit.replica(r).row(i);
        T *removal = out.removal.replica(r).row(i), *rate = out.rate.replica(r).row(i);
        T* written = out.replacement.replica(r).row(i);
        for (Index at = 0; at < in.k.cols; at += n) {
          const T inverse = inverse_length(k + at, k_k + at, n);
          for (Index c = at; c < at + n; ++c) {
            rate[c] = sigmoid(logit[c]);
            removal[c] = k[c] * k_k[c] * inverse;
            written[c] = k[c] * (1 + (rate[c] - 1) * k_a[c]);
          }
        }
      }
    });
  }
}

template <class T>
void rwkv7_keys_backward_cpu(Index heads, const Rwkv7KeyViews<T>& in, const Rwkv7KeyOutputs<T>& d,
                             const Rwkv7KeyGradients<T>& out, T* scratch) {
  const Index cols = in.k.cols, n = cols / heads;
  for (Index r = 0; r < in.k.replicas; ++r) {
    const T *k_k = in.k_k.replica(r).data, *k_a = in.k_a.replica(r).data;
    parallel_ranges(in.k.rows, kRowBlock, [&](Index first, Index count) {
      T* own = scratch + first / kRowBlock * 4 * cols;  // dk_k, dk_a, dk, dlogit
      std::fill_n(own, 2 * cols, T(0));
      T *dk = own + 2 * cols, *dlogit = own + 3 * cols;
      for (Index i = first; i < first + count; ++i) {
        const T *k = in.k.replica(r).row(i), *logit = in.logit.replica(r).row(i),
                *dremoval = d.removal.replica(r).row(i),
                *dreplacement = d.replacement.replica(r).row(i), *drate = d.rate.replica(r).row(i);
        for (Index at = 0; at < cols; at += n)
          HeadBack<T>{k + at,        logit + at,        k_k + at,   k_a + at,
                      dremoval + at, dreplacement + at, drate + at, n}
              .run(dk + at, dlogit + at, own + at, own + cols + at);
        gradient_of(out.k, r).write_row(i, dk);
        gradient_of(out.logit, r).write_row(i, dlogit);
      }
    });
    add_shares(scratch, blocks_of(in.k.rows, kRowBlock), 4 * cols, out.k_k, r);
    add_shares(scratch + cols, blocks_of(in.k.rows, kRowBlock), 4 * cols, out.k_a, r);
  }
}

template void rwkv7_keys_forward_cpu(Index, const Rwkv7KeyViews<float>&,
                                     const Rwkv7KeyOutputs<float>&);
template void rwkv7_keys_backward_cpu(Index, const Rwkv7KeyViews<float>&,
                                      const Rwkv7KeyOutputs<float>&,
                                      const Rwkv7KeyGradients<float>&, float*);
template void rwkv7_keys_forward_cpu(Index, const Rwkv7KeyViews<double>&,
                                     const Rwkv7KeyOutputs<double>&);
template void rwkv7_keys_backward_cpu(Index, const Rwkv7KeyViews<double>&,
                                      const Rwkv7KeyOutputs<double>&,
                                      const Rwkv7KeyGradients<double>&, double*);

}  // namespace recallbench
