// Chunks of tokens. With e the decays e^g, α = -κ, b = κ ⊙ a, and products over one chunk,
//   P_i = Π_{m <= i} e_m,   P'_i = Π_{m < i} e_m,   F_j = Π_{m > j} e_m,   W_ij = Π_{j < m <= i}
//   e_m,
// what is removed at token i is b_i u_iᵀ with u_i = S_{i-1}ᵀ α_i. From the state S before the chunk
//   (1 - Ab) u = Ak v + (α ⊙ P') S,      Ak_ij = Σ_c α_i W_{i-1,j} k_j, Ab the same with b; j < i
//   o = Qk v + Qb u + (q ⊙ P) S,         Qk_ij = Σ_c q_i W_ij k_j,      Qb the same with b; j <= i
//   S ← diag(P_last) S + (k ⊙ F)ᵀ v + (b ⊙ F)ᵀ u.
// Every product is made by multiplying on: nothing is divided, no difference of sums is taken.
#include <Eigen/Core>
#include <algorithm>

#include "kernels/generalized_delta_rule/item_cpu.h"
#include "kernels/matmul/gemm.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kChunk = GeneralizedDeltaRulePlan::kChunk;

/// Working memory, carved from scratch; all of a chunk's rows unless it says otherwise.
template <class T>
struct Buffers {
  Matrix<T> e, prefix, before, after;                // decays, P, P', F [C, K]
  Matrix<T> alpha, b;                                // [C, K]
  Matrix<T> faded_q, faded_alpha, faded_k, faded_b;  // times P, P', F, F
  Matrix<T> qk, qb, ak, ab;                          // weights [C, C]
  Matrix<T> path;  // row j: the reader at hand faded back to key j [C, K]
  Matrix<T> dq, dk, dalpha, db, dg, h;
  Matrix<T> dqk, dqb, dak, dab;  // gradients of the weights [C, C]
  Matrix<T> du;                  // gradient of u, then of the right side of its equation
  Matrix<T> dstate;              // [K, V]
  Matrix<T> u;                   // [C, V], in backward [L, V]
  Matrix<T> state;               // [K, V], in backward one for every chunk

  Buffers(const GeneralizedDeltaRulePlan& p, bool backward, T* scratch) : next_(scratch) {
    for (Matrix<T>* m : {&e, &prefix, &before, &after, &alpha, &b, &faded_q, &faded_alpha, &faded_k,
                         &faded_b, &path, &dq, &dk, &dalpha, &db, &dg, &h})
      *m = take(kChunk, p.keys);
    for (Matrix<T>* m : {&qk, &qb, &ak, &ab, &dqk, &dqb, &dak, &dab})
      *m = take(kChunk, kChunk);
    du = take(kChunk, p.values);
    dstate = take(p.keys, p.values);
    u = take(backward ? p.chunks() * kChunk : kChunk, p.values);
    state = take(p.keys, p.values);
  }
  static Index numbers(const GeneralizedDeltaRulePlan& p, bool backward) {
    const Index rows = backward ? p.chunks() * kChunk : kChunk;
    return 17 * kChunk * padded_cols(p.keys) + 8 * kChunk * padded_cols(kChunk) +
           (kChunk + rows + (1 + (backward ? p.chunks() : 1)) * p.keys) * padded_cols(p.values);
  }

 private:
  Matrix<T> take(Index rows, Index cols) {
    const Matrix<T> m{next_, rows, cols, padded_cols(cols)};
    next_ += rows * m.stride;
    return m;
  }
  T* next_;
};

/// One step of a reader's way over the keys, from the oldest on: w is the reader faded back to this
/// key, dk and db the gradients of its two weights, h what later readers of the sum hold of it.
template <class T>
struct KeyStep {
  const T *decay, *k, *b, *w;
  T dweight_k, dweight_b;
  Index n;

  void run(T* __restrict h, T* __restrict dk, T* __restrict db, T* __restrict dg) const {
    for (Index c = 0; c < n; ++c) {
      const T faded = h[c] * decay[c];
      dg[c] += w[c] * faded;
      dk[c] += dweight_k * w[c];
      db[c] += dweight_b * w[c];
      h[c] = faded + dweight_k * k[c] + dweight_b * b[c];
    }
  }
};

constexpr Transpose kNo = Transpose::no, kYes = Transpose::yes;

template <class T>
class Chunks {
 public:
  Chunks(const GeneralizedDeltaRulePlan& p, const GeneralizedDeltaItem<T>& item, bool backward,
         T* scratch)
      : p_(p), it_(item), all_(p, backward, scratch), m_(all_) {}

  void forward(const Matrix<T>& y) {
    clear(all_.state);
    for (Index c = 0; c < p_.chunks(); ++c) {
      select(c);
      m_.u = all_.u.block(0, count_);
      make_weights(true);
      solve(all_.state);
      const Matrix<T> o = y.block(first_, count_);
      gemm<T>(kNo, kNo, T(1), m_.qk, v_, false, o);
      gemm<T>(kNo, kNo, T(1), m_.qb, m_.u, true, o);
      gemm<T>(kNo, kNo, T(1), m_.faded_q, all_.state, true, o);
      advance(all_.state, all_.state);
    }
  }

  /// With G the gradient of the state after the chunk and r that of the right side of u's equation,
  ///   (1 - Ab)ᵀ r = Qbᵀ do + (b ⊙ F) G,   dv = Qkᵀ do + Akᵀ r + (k ⊙ F) G,
  ///   dQk = do vᵀ, dQb = do uᵀ, dAk = r vᵀ, dAb = r uᵀ,
  ///   G ← diag(P_last) G + (q ⊙ P)ᵀ do + (α ⊙ P')ᵀ r.
  void backward(const Matrix<T>& dy, const GeneralizedDeltaItemGradients<T>& out) {
    all_states();
    clear(all_.dstate);
    for (Index c = p_.chunks() - 1; c >= 0; --c) {
      select(c);
      m_.u = all_.u.block(first_, count_);
      make_weights(true);
      const Matrix<T> d = dy.block(first_, count_), before = state(c);
      solve_back(d);
      if (out.dv.wanted()) value_gradient(d, out.dv);
      through_state(d, before);
      gemm<T>(kNo, kYes, T(1), d, v_, false, m_.dqk);
      gemm<T>(kNo, kYes, T(1), d, m_.u, false, m_.dqb);
      gemm<T>(kNo, kYes, T(1), m_.du, v_, false, m_.dak);
      gemm<T>(kNo, kYes, T(1), m_.du, m_.u, false, m_.dab);
      for (Index i = 0; i < count_; ++i) {
        reader_back(q_.row(i), i, m_.dqk.row(i), m_.dqb.row(i), m_.dq.row(i));
        reader_back(m_.alpha.row(i), i - 1, m_.dak.row(i), m_.dab.row(i), m_.dalpha.row(i));
      }
      gemm<T>(kYes, kNo, T(1), m_.faded_q, d, true, all_.dstate);
      gemm<T>(kYes, kNo, T(1), m_.faded_alpha, m_.du, true, all_.dstate);
      finish(out);
    }
  }

 private:
  Matrix<T> state(Index chunk) const {
    Matrix<T> s = all_.state;
    s.data += chunk * s.rows * s.stride;
    return s;
  }

  /// Rows and decays of one chunk.
  void select(Index chunk) {
    first_ = chunk * kChunk;
    count_ = std::min(kChunk, p_.length - first_);
    q_ = it_.q.block(first_, count_);
    k_ = it_.k.block(first_, count_);
    v_ = it_.v.block(first_, count_);
    for (auto matrix :
         {&Buffers<T>::e, &Buffers<T>::prefix, &Buffers<T>::before, &Buffers<T>::after,
          &Buffers<T>::alpha, &Buffers<T>::b, &Buffers<T>::faded_q, &Buffers<T>::faded_alpha,
          &Buffers<T>::faded_k, &Buffers<T>::faded_b, &Buffers<T>::dq, &Buffers<T>::dk,
          &Buffers<T>::dalpha, &Buffers<T>::db, &Buffers<T>::dg, &Buffers<T>::du})
      m_.*matrix = (all_.*matrix).block(0, count_);
    for (auto matrix : {&Buffers<T>::qk, &Buffers<T>::qb, &Buffers<T>::ak, &Buffers<T>::ab,
                        &Buffers<T>::dqk, &Buffers<T>::dqb, &Buffers<T>::dak, &Buffers<T>::dab})
      m_.*matrix = (all_.*matrix).block(0, count_).columns(0, count_);
    load_decays();
    const Matrix<T> removal = it_.removal.block(first_, count_);
    multiply_rows(removal, it_.rate.block(first_, count_), T(1), m_.b);
    for (Index i = 0; i < count_; ++i)
      for (Index c = 0; c < p_.keys; ++c)
        m_.alpha.row(i)[c] = -removal.row(i)[c];
    multiply_rows(q_, m_.prefix, T(1), m_.faded_q);
    multiply_rows(m_.alpha, m_.before, T(1), m_.faded_alpha);
    multiply_rows(k_, m_.after, T(1), m_.faded_k);
    multiply_rows(m_.b, m_.after, T(1), m_.faded_b);
  }

  void load_decays() const {
    using Row = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;
    using ConstRow = Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>;
    const auto row = [&](const Matrix<T>& m, Index i) { return Row(m.row(i), p_.keys); };
    for (Index i = 0; i < count_; ++i) {
      row(m_.e, i) = ConstRow(it_.log_decay.row(first_ + i), p_.keys).exp();
      if (i == 0)
        row(m_.before, i).setOnes();
      else
        row(m_.before, i) = row(m_.prefix, i - 1);
      row(m_.prefix, i) = row(m_.before, i) * row(m_.e, i);
    }
    row(m_.after, count_ - 1).setOnes();
    for (Index i = count_ - 2; i >= 0; --i)
      row(m_.after, i) = row(m_.after, i + 1) * row(m_.e, i + 1);
  }

  /// Ak and Ab, and where `queries` Qk and Qb; 0 where a key is not yet there.
  void make_weights(bool queries) const {
    for (Index i = 0; i < count_; ++i) {
      reader_weights(m_.alpha.row(i), i - 1, m_.ak.row(i), m_.ab.row(i));
      if (queries) reader_weights(q_.row(i), i, m_.qk.row(i), m_.qb.row(i));
    }
  }

  /// The weights of keys 0 ... newest for one reader; leaves it faded back to each in `path`.
  void reader_weights(const T* reader, Index newest, T* weights_k, T* weights_b) const {
    make_path(reader, newest);
    for (Index j = 0; j <= newest; ++j) {
      weights_k[j] = dot(all_.path.row(j), k_.row(j), p_.keys);
      weights_b[j] = dot(all_.path.row(j), m_.b.row(j), p_.keys);
    }
    std::fill(weights_k + newest + 1, weights_k + count_, T(0));
    std::fill(weights_b + newest + 1, weights_b + count_, T(0));
  }
  void make_path(const T* reader, Index newest) const {
    if (newest >= 0) std::copy_n(reader, p_.keys, all_.path.row(newest));
    for (Index j = newest; j > 0; --j)
      for (Index c = 0; c < p_.keys; ++c)
        all_.path.row(j - 1)[c] = all_.path.row(j)[c] * m_.e.row(j)[c];
  }

  /// u of the chunk, from the state before it.
  void solve(const Matrix<T>& before) const {
    gemm<T>(kNo, kNo, T(1), m_.ak, v_, false, m_.u);
    gemm<T>(kNo, kNo, T(1), m_.faded_alpha, before, true, m_.u);
    for (Index i = 1; i < count_; ++i)
      for (Index j = 0; j < i; ++j)
        add_row(m_.ab.row(i)[j], m_.u.row(j), m_.u.row(i));
  }
  void add_row(T weight, const T* __restrict from, T* __restrict to) const {
    for (Index c = 0; c < p_.values; ++c)
      to[c] += weight * from[c];
  }

  /// after = diag(P_last) before + (k ⊙ F)ᵀ v + (b ⊙ F)ᵀ u.
  void advance(const Matrix<T>& before, const Matrix<T>& after) const {
    fade_state(before, after);
    gemm<T>(kYes, kNo, T(1), m_.faded_k, v_, true, after);
    gemm<T>(kYes, kNo, T(1), m_.faded_b, m_.u, true, after);
  }
  void fade_state(const Matrix<T>& before, const Matrix<T>& after) const {
    const T* total = m_.prefix.row(count_ - 1);
    for (Index c = 0; c < p_.keys; ++c)
      for (Index j = 0; j < p_.values; ++j)
        after.row(c)[j] = total[c] * before.row(c)[j];
  }

  /// The state before every chunk, and all of u.
  void all_states() {
    clear(state(0));
    for (Index c = 0; c < p_.chunks(); ++c) {
      select(c);
      m_.u = all_.u.block(first_, count_);
      make_weights(false);
      solve(state(c));
      if (c + 1 < p_.chunks()) advance(state(c), state(c + 1));
    }
  }

  /// du becomes r.
  void solve_back(const Matrix<T>& d) const {
    gemm<T>(kYes, kNo, T(1), m_.qb, d, false, m_.du);
    gemm<T>(kNo, kNo, T(1), m_.faded_b, all_.dstate, true, m_.du);
    for (Index i = count_ - 1; i > 0; --i)
      for (Index j = 0; j < i; ++j)
        add_row(m_.ab.row(i)[j], m_.du.row(i), m_.du.row(j));
  }

  void value_gradient(const Matrix<T>& d, const MatrixGradient<T>& out) const {
    const Matrix<T> dv = out.to.block(first_, count_);
    gemm<T>(kYes, kNo, T(1), m_.qk, d, out.accumulate, dv);
    gemm<T>(kYes, kNo, T(1), m_.ak, m_.du, true, dv);
    gemm<T>(kNo, kNo, T(1), m_.faded_k, all_.dstate, true, dv);
  }

  /// Gradients by way of the states before and after the chunk; G is faded to before it. dg_t sums
  /// what passes token t: from S to a reader, from a key to the state after, from S to it.
  void through_state(const Matrix<T>& d, const Matrix<T>& before) const {
    gemm<T>(kNo, kYes, T(1), v_, all_.dstate, false, m_.dk);
    gemm<T>(kNo, kYes, T(1), m_.u, all_.dstate, false, m_.db);
    gemm<T>(kNo, kYes, T(1), d, before, false, m_.dq);
    gemm<T>(kNo, kYes, T(1), m_.du, before, false, m_.dalpha);
    multiply_rows(m_.dk, m_.after, T(1), m_.dk);
    multiply_rows(m_.db, m_.after, T(1), m_.db);
    multiply_rows(m_.dq, m_.prefix, T(1), m_.dq);
    multiply_rows(m_.dalpha, m_.before, T(1), m_.dalpha);
    fade_state(all_.dstate, all_.dstate);
    T* sum = all_.h.row(0);
    for (Index c = 0; c < p_.keys; ++c)
      sum[c] = dot(all_.dstate.row(c), before.row(c), p_.values);
    for (Index t = 0; t < count_; ++t)
      for (Index c = 0; c < p_.keys; ++c) {
        m_.dg.row(t)[c] = sum[c];
        sum[c] += k_.row(t)[c] * m_.dk.row(t)[c] + m_.b.row(t)[c] * m_.db.row(t)[c];
      }
    std::fill_n(sum, p_.keys, T(0));
    for (Index t = count_ - 1; t >= 0; --t)
      for (Index c = 0; c < p_.keys; ++c) {
        sum[c] += q_.row(t)[c] * m_.dq.row(t)[c];
        m_.dg.row(t)[c] += sum[c];
        sum[c] += m_.alpha.row(t)[c] * m_.dalpha.row(t)[c];
      }
  }

  /// Gradients by way of one reader's weights of keys 0 ... newest.
  void reader_back(const T* reader, Index newest, const T* dweights_k, const T* dweights_b,
                   T* dreader) const {
    make_path(reader, newest);
    T* h = all_.h.row(0);
    std::fill_n(h, p_.keys, T(0));
    for (Index j = 0; j <= newest; ++j)
      KeyStep<T>{m_.e.row(j),   k_.row(j),     m_.b.row(j), all_.path.row(j),
                 dweights_k[j], dweights_b[j], p_.keys}
          .run(h, m_.dk.row(j), m_.db.row(j), m_.dg.row(j));
    for (Index c = 0; c < p_.keys; ++c)
      dreader[c] += h[c];
  }

  /// α = -κ and b = κ ⊙ a: dκ = db ⊙ a - dα, da = db ⊙ κ.
  void finish(const GeneralizedDeltaItemGradients<T>& out) const {
    out.dq.write_rows(first_, m_.dq);
    out.dk.write_rows(first_, m_.dk);
    out.dlog_decay.write_rows(first_, m_.dg);
    for (Index i = 0; i < count_; ++i) {
      const T *kappa = it_.removal.row(first_ + i), *rate = it_.rate.row(first_ + i);
      T *removal = m_.dalpha.row(i), *db = m_.db.row(i);
      for (Index c = 0; c < p_.keys; ++c) {
        removal[c] = db[c] * rate[c] - removal[c];
        db[c] *= kappa[c];
      }
    }
    out.dremoval.write_rows(first_, m_.dalpha);
    out.drate.write_rows(first_, m_.db);
  }

  const GeneralizedDeltaRulePlan& p_;
  const GeneralizedDeltaItem<T>& it_;
  const Buffers<T> all_;  // whole
  Buffers<T> m_;          // the rows of the chunk at hand
  Index first_ = 0, count_ = 0;
  Matrix<T> q_{}, k_{}, v_{};
};

}  // namespace

Index generalized_delta_chunk_scratch(const GeneralizedDeltaRulePlan& p, bool backward) {
  return Buffers<float>::numbers(p, backward);
}

template <class T>
void generalized_delta_forward(const GeneralizedDeltaRulePlan& plan,
                               const GeneralizedDeltaItem<T>& item, const Matrix<T>& y,
                               T* scratch) {
  Chunks<T>(plan, item, false, scratch).forward(y);
}

template <class T>
void generalized_delta_backward(const GeneralizedDeltaRulePlan& plan,
                                const GeneralizedDeltaItem<T>& item, const Matrix<T>& dy,
                                const GeneralizedDeltaItemGradients<T>& gradients, T* scratch) {
  Chunks<T>(plan, item, true, scratch).backward(dy, gradients);
}

#define INSTANTIATE(T)                                                                           \
  template void generalized_delta_forward(const GeneralizedDeltaRulePlan&,                       \
                                          const GeneralizedDeltaItem<T>&, const Matrix<T>&, T*); \
  template void generalized_delta_backward(const GeneralizedDeltaRulePlan&,                      \
                                           const GeneralizedDeltaItem<T>&, const Matrix<T>&,     \
                                           const GeneralizedDeltaItemGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
