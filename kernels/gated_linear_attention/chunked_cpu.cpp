// Chunks of tokens. With a the decays e^g and products over the tokens of one chunk,
//   P_i = Π_{m <= i} a_m,   U_j = Π_{m > j} a_m,   W_ij = Π_{j < m <= i} a_m,
// the weight of value j in output i is A_ij = scale Σ_c q_i W_ij k_j for j <= i, and with the
// state S before the chunk
//   o = A v + (scale q ⊙ P) S,   S ← diag(P_last) S + (k ⊙ U)ᵀ v.
// Every product is made by multiplying on: nothing is divided, no difference of sums is taken.
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "kernels/gated_linear_attention/item_cpu.h"
#include "kernels/matmul/gemm.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

/// Working memory, carved from scratch.
template <class T>
struct Buffers {
  Matrix<T> a, prefix, suffix;     // decays, P, U [C, K]
  Matrix<T> faded_q, faded_k;      // scale q ⊙ P, k ⊙ U [C, K]
  Matrix<T> weights;               // A [C, C]
  Matrix<T> dweights, dq, dk, dg;  // backward
  Matrix<T> path;                  // row j: scale q_i ⊙ W_ij for the query i at hand [C, K]
  Matrix<T> row;                   // [1, K]
  Matrix<T> dstate, state;         // [K, V]; in backward one state for every chunk

  Buffers(const GatedLinearAttentionPlan& p, T* scratch) : next_(scratch) {
    const Index n = p.chunk();
    for (Matrix<T>* m : {&a, &prefix, &suffix, &faded_q, &faded_k, &dq, &dk, &dg, &path})
      *m = take(n, p.keys);
    for (Matrix<T>* m : {&weights, &dweights})
      *m = take(n, n);
    row = take(1, p.keys);
    for (Matrix<T>* m : {&dstate, &state})
      *m = take(p.keys, p.values);
  }
  static Index numbers(const GatedLinearAttentionPlan& p, Index states) {
    const Index n = p.chunk();
    return (9 * n + 1) * padded_cols(p.keys) + 2 * n * padded_cols(n) +
           (1 + states) * p.keys * padded_cols(p.values);
  }

 private:
  Matrix<T> take(Index rows, Index cols) {
    const Matrix<T> m{next_, rows, cols, padded_cols(cols)};
    next_ += rows * m.stride;
    return m;
  }
  T* next_;
};

/// One step of a query's way over the keys, from the oldest to its own: d = dA_ij, w = scale q_i ⊙
/// W_ij, and h = Σ_{m <= j} dA_im W_mj k_m once key j is in it.
template <class T>
void step_over_key(const T* __restrict a, const T* __restrict k, const T* __restrict w, T d,
                   Index n, T* __restrict h, T* __restrict dk, T* __restrict dg) {
  for (Index c = 0; c < n; ++c) {
    const T faded = h[c] * a[c];
    dg[c] += w[c] * faded;
    dk[c] += d * w[c];
    h[c] = faded + d * k[c];
  }
}

template <class T>
class Chunks {
 public:
  Chunks(const GatedLinearAttentionPlan& p, const GatedItem<T>& item, T* scratch)
      : p_(p), it_(item), b_(p, scratch), scale_(T(p.options.scale)) {}

  void forward(const Matrix<T>& y) {
    clear(b_.state);
    for (Index c = 0; c < p_.chunks(); ++c) {
      select(c);
      for (Index head = 0; head < p_.group(); ++head) {
        const Matrix<T> q = q_.columns(head * p_.keys, p_.keys);
        const Matrix<T> o = y.block(first_, count_).columns(head * p_.values, p_.values);
        make_weights(q);
        multiply_rows(q, prefix_, scale_, faded_q_);
        gemm<T>(Transpose::no, Transpose::no, T(1), weights_, v_, false, o);
        gemm<T>(Transpose::no, Transpose::no, T(1), faded_q_, b_.state, true, o);
      }
      advance(b_.state, b_.state);
    }
  }

  /// With S the state before a chunk and G the gradient of the one after it,
  ///   dA = tril(do vᵀ),   dv = Aᵀ do + (k ⊙ U) G,
  ///   dq = scale (Σ_j dA_ij W_ij k_j + P ⊙ do Sᵀ),   dk = scale Σ_i dA_ij W_ij q_i + U ⊙ v Gᵀ,
  ///   G ← diag(P_last) G + (scale q ⊙ P)ᵀ do.
  /// dg_t is the sum over what passes token t: from key to query within the chunk, from S to a
  /// query, from a key to the state after, from S to the state after. None of it cancels.
  void backward(const Matrix<T>& dy, const GatedItemGradients<T>& out) {
    all_states();
    clear(b_.dstate);
    for (Index c = p_.chunks() - 1; c >= 0; --c) {
      select(c);
      begin_backward(state(c), out.dv);
      for (Index head = 0; head < p_.group(); ++head) {
        const Matrix<T> q = q_.columns(head * p_.keys, p_.keys);
        const Matrix<T> d = dy.block(first_, count_).columns(head * p_.values, p_.values);
        head_backward(q, d, state(c), out.dv);
        out.dq.columns(head * p_.keys, p_.keys).write_rows(first_, dq_);
      }
      out.dk.write_rows(first_, dk_);
      if (!p_.constant()) out.dlog_decay.write_rows(first_, dg_);
    }
  }

 private:
  Matrix<T> state(Index chunk) const {
    Matrix<T> s = b_.state;
    s.data += chunk * s.rows * s.stride;
    return s;
  }

  /// Rows and decays of one chunk.
  void select(Index chunk) {
    first_ = chunk * p_.chunk();
    count_ = std::min(p_.chunk(), p_.length - first_);
    q_ = it_.q.block(first_, count_);
    k_ = it_.k.block(first_, count_);
    v_ = it_.v.block(first_, count_);
    a_ = b_.a.block(0, count_);
    prefix_ = b_.prefix.block(0, count_);
    suffix_ = b_.suffix.block(0, count_);
    faded_q_ = b_.faded_q.block(0, count_);
    faded_k_ = b_.faded_k.block(0, count_);
    dq_ = b_.dq.block(0, count_);
    dk_ = b_.dk.block(0, count_);
    dg_ = b_.dg.block(0, count_);
    weights_ = b_.weights.block(0, count_).columns(0, count_);
    dweights_ = b_.dweights.block(0, count_).columns(0, count_);
    p_.constant() ? load_constant_decay() : load_decays();
    multiply_rows(k_, suffix_, T(1), faded_k_);
  }

  void load_decays() const {
    using Row = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;
    using ConstRow = Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>;
    const Index last = count_ - 1;
    for (Index i = 0; i < count_; ++i) {
      Row a(a_.row(i), p_.keys), prefix(prefix_.row(i), p_.keys);
      a = ConstRow(it_.log_decay.row(first_ + i), p_.keys).exp();
      if (i == 0)
        prefix = a;
      else
        prefix = a * Row(prefix_.row(i - 1), p_.keys);
    }
    std::fill_n(suffix_.row(last), p_.keys, T(1));
    for (Index i = last - 1; i >= 0; --i)
      Row(suffix_.row(i), p_.keys) = Row(suffix_.row(i + 1), p_.keys) * Row(a_.row(i + 1), p_.keys);
  }

  void load_constant_decay() const {
    for (Index i = 0; i < count_; ++i) {
      std::fill_n(prefix_.row(i), p_.keys, power(i + 1));
      std::fill_n(suffix_.row(i), p_.keys, power(count_ - 1 - i));
    }
  }

  T power(Index tokens) const {
    return static_cast<T>(std::pow(it_.constant_decay, static_cast<double>(tokens)));
  }

  /// after = diag(P_last) before + (k ⊙ U)ᵀ v.
  void advance(const Matrix<T>& before, const Matrix<T>& after) const {
    fade_state(before, after);
    gemm<T>(Transpose::yes, Transpose::no, T(1), faded_k_, v_, true, after);
  }
  void fade_state(const Matrix<T>& before, const Matrix<T>& after) const {
    const T* total = prefix_.row(count_ - 1);
    for (Index c = 0; c < p_.keys; ++c)
      for (Index j = 0; j < p_.values; ++j)
        after.row(c)[j] = total[c] * before.row(c)[j];
  }

  /// The state before every chunk.
  void all_states() {
    clear(state(0));
    for (Index c = 0; c + 1 < p_.chunks(); ++c) {
      select(c);
      advance(state(c), state(c + 1));
    }
  }

  /// A, 0 above the diagonal.
  void make_weights(const Matrix<T>& q) const {
    if (p_.constant()) {
      gemm<T>(Transpose::no, Transpose::yes, scale_, q, k_, false, weights_);
      fade_weights(weights_);
      return;
    }
    for (Index i = 0; i < count_; ++i)
      make_weight_row(q, i);
  }

  /// Row i of A; leaves the query's decayed forms in `path`.
  void make_weight_row(const Matrix<T>& q, Index i) const {
    T* row = weights_.row(i);
    for (Index c = 0; c < p_.keys; ++c)
      b_.path.row(i)[c] = scale_ * q.row(i)[c];
    for (Index j = i; j >= 0; --j) {
      const T *w = b_.path.row(j), *a = a_.row(j);
      row[j] = dot(w, k_.row(j), p_.keys);
      for (Index c = 0; j > 0 && c < p_.keys; ++c)
        b_.path.row(j - 1)[c] = w[c] * a[c];
    }
    std::fill(row + i + 1, row + count_, T(0));
  }

  /// Row i, column j times the constant decay to the power of i - j; 0 above the diagonal.
  void fade_weights(const Matrix<T>& weights) const {
    // prefix_ has the powers 1, 2, ...
    for (Index i = 0; i < count_; ++i) {
      T* row = weights.row(i);
      for (Index j = 0; j < i; ++j)
        row[j] *= prefix_.row(i - j - 1)[0];
      std::fill(row + i + 1, row + count_, T(0));
    }
  }

  /// What all heads share: dk, dv and dg by way of the state after the chunk, then G faded to
  /// before the chunk, to which the heads add.
  void begin_backward(const Matrix<T>& before, const MatrixGradient<T>& dv) const {
    gemm<T>(Transpose::no, Transpose::yes, T(1), v_, b_.dstate, false, dk_);
    multiply_rows(dk_, suffix_, T(1), dk_);
    if (dv.wanted())
      gemm<T>(Transpose::no, Transpose::no, T(1), faded_k_, b_.dstate, dv.accumulate,
              dv.to.block(first_, count_));
    fade_state(b_.dstate, b_.dstate);
    if (p_.constant()) return;
    T* sum = b_.row.row(0);
    for (Index c = 0; c < p_.keys; ++c)
      sum[c] = dot(b_.dstate.row(c), before.row(c), p_.values);
    for (Index t = 0; t < count_; ++t)
      for (Index c = 0; c < p_.keys; ++c) {
        dg_.row(t)[c] = sum[c];
        sum[c] += k_.row(t)[c] * dk_.row(t)[c];
      }
  }

  void head_backward(const Matrix<T>& q, const Matrix<T>& d, const Matrix<T>& before,
                     const MatrixGradient<T>& dv) const {
    gemm<T>(Transpose::no, Transpose::yes, scale_, d, before, false, dq_);
    multiply_rows(dq_, prefix_, T(1), dq_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), d, v_, false, dweights_);
    p_.constant() ? add_through_constant_weights(q) : add_through_weights(q);
    if (dv.wanted())
      gemm<T>(Transpose::yes, Transpose::no, T(1), weights_, d, true, dv.to.block(first_, count_));
    multiply_rows(q, prefix_, scale_, faded_q_);
    gemm<T>(Transpose::yes, Transpose::no, T(1), faded_q_, d, true, b_.dstate);
  }

  void add_through_constant_weights(const Matrix<T>& q) const {
    make_weights(q);
    fade_weights(dweights_);
    gemm<T>(Transpose::no, Transpose::no, scale_, dweights_, k_, true, dq_);
    gemm<T>(Transpose::yes, Transpose::no, scale_, dweights_, q, true, dk_);
  }

  /// The weights and their gradients; dq_ holds the part by way of the state before, which passes
  /// all tokens up to the query's.
  void add_through_weights(const Matrix<T>& q) const {
    T* h = b_.row.row(0);
    std::fill_n(h, p_.keys, T(0));
    for (Index t = count_ - 1; t >= 0; --t)
      for (Index c = 0; c < p_.keys; ++c) {
        h[c] += q.row(t)[c] * dq_.row(t)[c];
        dg_.row(t)[c] += h[c];
      }
    for (Index i = 0; i < count_; ++i) {
      make_weight_row(q, i);
      std::fill_n(h, p_.keys, T(0));
      for (Index j = 0; j <= i; ++j)
        step_over_key(a_.row(j), k_.row(j), b_.path.row(j), dweights_.row(i)[j], p_.keys, h,
                      dk_.row(j), dg_.row(j));
      for (Index c = 0; c < p_.keys; ++c)
        dq_.row(i)[c] += scale_ * h[c];
    }
  }

  const GatedLinearAttentionPlan& p_;
  const GatedItem<T>& it_;
  Buffers<T> b_;
  T scale_;
  Index first_ = 0, count_ = 0;
  Matrix<T> q_{}, k_{}, v_{}, a_{}, prefix_{}, suffix_{}, faded_q_{}, faded_k_{}, dq_{}, dk_{},
      dg_{};
  Matrix<T> weights_{}, dweights_{};
};

}  // namespace

Index gated_chunk_scratch(const GatedLinearAttentionPlan& p, bool backward) {
  return Buffers<float>::numbers(p, backward ? p.chunks() : 1);
}

template <class T>
void gated_forward(const GatedLinearAttentionPlan& plan, const GatedItem<T>& item,
                   const Matrix<T>& y, T* scratch) {
  Chunks<T>(plan, item, scratch).forward(y);
}

template <class T>
void gated_backward(const GatedLinearAttentionPlan& plan, const GatedItem<T>& item,
                    const Matrix<T>& dy, const GatedItemGradients<T>& gradients, T* scratch) {
  Chunks<T>(plan, item, scratch).backward(dy, gradients);
}

#define INSTANTIATE(T)                                                               \
  template void gated_forward(const GatedLinearAttentionPlan&, const GatedItem<T>&,  \
                              const Matrix<T>&, T*);                                 \
  template void gated_backward(const GatedLinearAttentionPlan&, const GatedItem<T>&, \
                               const Matrix<T>&, const GatedItemGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
