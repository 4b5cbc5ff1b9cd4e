// Chunks of kChunk tokens in the WY form. With S the state before a chunk, Γ the running sum of the
// log decays within it, D[i, j] = e^(Γ_i - Γ_j) for j <= i and 0 above,
//   N = -(K Kᵀ ⊙ D) below the diagonal,   A = scale (Q Kᵀ) ⊙ D,
//   E = V + (-e^Γ K) S + N U with U = β E (row by row: a triangular system),
//   Y = scale e^Γ Q S + A U,   S ← e^(Γ_C) S + (e^(Γ_C - Γ) K)ᵀ U.
// Decays enter through differences Γ_i - Γ_j <= 0 alone, so nothing overflows. Signs are in the
// matrices: a product with the factor 1 never copies one.
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "kernels/delta_rule/chunk.h"
#include "kernels/delta_rule/item_cpu.h"
#include "kernels/matmul/gemm.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kChunk = kDeltaRuleChunk;
// Rows of the triangular system that are solved one by one, between products.
constexpr Index kSolved = 16;

template <class T>
using Row = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;
template <class T>
using ConstRow = Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>;

template <class T>
Row<T> array(const Matrix<T>& m, Index i) {
  return {m.row(i), m.cols};
}

Index chunks(const DeltaRulePlan& p) {
  return (p.length + kChunk - 1) / kChunk;
}

/// Working memory of a chunk, carved from scratch; the second half is backward's.
template <class T>
struct Buffers {
  Matrix<double> sums;                 ///< Γ [1, C]: differences of large sums stay exact
  Matrix<T> factors;                   ///< rows: β, e^Γ, e^(Γ_C - Γ), and one for log decays
  Matrix<T> decays, overlaps, scores;  ///< D, N, A [C, C]
  Matrix<T> early_q, early_k, late_k;  ///< scale e^Γ Q, -e^Γ K, e^(Γ_C - Γ) K [C, dk]
  Matrix<T> errors, updates;           ///< E, U [C, dv]
  Matrix<T> state;                     ///< S [dk, dv]
  Matrix<T> doverlaps, dscores;        ///< of K Kᵀ, of Q Kᵀ
  Matrix<T> dupdates, dvalues;
  Matrix<T> dq, dk, part;
  Matrix<T> dstate;

  Index numbers = 0;  ///< of all of them

  /// Without scratch the sizes alone.
  Buffers(const DeltaRulePlan& p, bool backward, T* scratch) {
    const auto take = [&](Index rows, Index cols) {
      const Matrix<T> m{scratch == nullptr ? nullptr : scratch + numbers, rows, cols,
                        padded_cols(cols)};
      numbers += rows * padded_cols(cols);
      return m;
    };
    const Matrix<T> room = take(1, 2 * kChunk);  // doubles, whatever T is
    sums = {reinterpret_cast<double*>(room.data), 1, kChunk, kChunk};
    factors = take(4, kChunk);
    for (Matrix<T>* tile : {&decays, &overlaps, &scores})
      *tile = take(kChunk, kChunk);
    for (Matrix<T>* rows : {&early_q, &early_k, &late_k})
      *rows = take(kChunk, p.keys);
    for (Matrix<T>* rows : {&errors, &updates})
      *rows = take(kChunk, p.values);
    state = take(p.keys, p.values);
    if (!backward) return;
    for (Matrix<T>* tile : {&doverlaps, &dscores})
      *tile = take(kChunk, kChunk);
    for (Matrix<T>* rows : {&dupdates, &dvalues})
      *rows = take(kChunk, p.values);
    for (Matrix<T>* rows : {&dq, &dk, &part})
      *rows = take(kChunk, p.keys);
    dstate = take(p.keys, p.values);
  }
};

/// to = scale · factor of the row · from
template <class T>
void scale_rows(const Matrix<T>& from, T scale, const T* factors, const Matrix<T>& to) {
  for (Index i = 0; i < from.rows; ++i)
    array(to, i) = (scale * factors[i]) * array(from, i);
}

template <class T>
T dot(const Matrix<T>& a, const Matrix<T>& b, Index i) {
  return (array(a, i) * array(b, i)).sum();
}

template <class T>
class Chunked {
 public:
  Chunked(const DeltaRulePlan& p, const DeltaRuleItem<T>& item, bool backward, T* scratch)
      : p_(p),
        it_(item),
        b_(p, backward, scratch),
        scale_(static_cast<T>(p.options.scale)),
        gated_(item.log_decay.data != nullptr) {}

  void forward(const Matrix<T>& to) {
    const Matrix<T>& state = b_.state;
    clear(state);
    for (Index c = 0; c < chunks(p_); ++c) {
      select(c);
      solve(state);
      const Matrix<T> y = to.block(first_, count_);
      gemm<T>(Transpose::no, Transpose::no, T(1), scores_, updates_, false, y);
      if (c > 0) gemm<T>(Transpose::no, Transpose::no, T(1), early_q_, state, true, y);
      if (c + 1 == chunks(p_)) break;
      if (gated_) scale_state(state);
      gemm<T>(Transpose::yes, Transpose::no, T(1), late_k_, updates_, c > 0, state);
      if (it_.states.data != nullptr) copy_rows(state, kept(c));
    }
  }

  /// With G the gradient of the state after the chunk: dU = Aᵀ dY + e^(Γ_C - Γ) K G; W, the
  /// gradient of E before β, from (the transposed system) W = dU - Nᵀ (β W); dV = β W;
  /// d(K Kᵀ) = -dV Uᵀ ⊙ D below the diagonal, d(Q Kᵀ) = scale (dY Uᵀ) ⊙ D; the rest by the
  /// products that these stand in.
  void backward(const DeltaRuleItemGradients<T>& out) {
    clear(b_.dstate);
    clear(b_.state);
    for (Index c = chunks(p_) - 1; c >= 0; --c) {
      select(c);
      const Matrix<T> state = c == 0 ? b_.state : kept(c - 1);
      const Matrix<T> dy = out.dy.block(first_, count_);
      solve(state);
      const Matrix<T> dupdates = b_.dupdates.block(0, count_),
                      dvalues = b_.dvalues.block(0, count_);
      gemm<T>(Transpose::yes, Transpose::no, T(1), scores_, dy, false, dupdates);
      gemm<T>(Transpose::no, Transpose::no, T(1), late_k_, b_.dstate, true, dupdates);
      solve_back(dupdates, dvalues);
      tile_gradients(dy, dvalues);
      row_gradients(dy, dvalues, state, out);
      for (Index i = 0; i < count_; ++i)
        out.beta.write(first_ + i, 0,
                       static_cast<T>(p_.options.beta_scale) * dot(dupdates, errors_, i));
      out.v.write_rows(first_, dvalues);
      if (c == 0) break;
      if (gated_) scale_state(b_.dstate);
      gemm<T>(Transpose::yes, Transpose::no, T(1), early_q_, dy, true, b_.dstate);
      gemm<T>(Transpose::yes, Transpose::no, T(1), early_k_, dvalues, true, b_.dstate);
    }
  }

 private:
  T* beta() const { return b_.factors.row(0); }
  T* since_start() const { return b_.factors.row(1); }  // e^Γ
  T* until_end() const { return b_.factors.row(2); }    // e^(Γ_C - Γ)
  T* dlog_decay() const { return b_.factors.row(3); }
  /// e^(Γ_C): what is left of a state after the chunk.
  T whole() const { return since_start()[count_ - 1]; }

  Matrix<T> kept(Index c) const { return {it_.states.row(c), p_.keys, p_.values, p_.values}; }

  void select(Index chunk) {
    chunk_ = chunk;
    first_ = chunk * kChunk;
    count_ = std::min(kChunk, p_.length - first_);
    q_ = it_.q.block(first_, count_);
    k_ = it_.k.block(first_, count_);
    const auto tile = [&](const Matrix<T>& m) { return m.block(0, count_).columns(0, count_); };
    overlaps_ = tile(b_.overlaps);
    scores_ = tile(b_.scores);
    early_q_ = b_.early_q.block(0, count_);
    early_k_ = b_.early_k.block(0, count_);
    late_k_ = b_.late_k.block(0, count_);
    errors_ = b_.errors.block(0, count_);
    updates_ = b_.updates.block(0, count_);
  }

  void load_factors() const {
    double sum = 0, *sums = b_.sums.data;
    for (Index i = 0; i < count_; ++i) {
      beta()[i] = static_cast<T>(p_.options.beta_scale) *
                  (it_.beta.data == nullptr ? T(1) : it_.beta.row(first_ + i)[0]);
      if (gated_) sum += static_cast<double>(it_.log_decay.row(first_ + i)[0]);
      sums[i] = sum;
    }
    const ConstRow<double> all(sums, count_);
    Row<T>(since_start(), count_) = all.template cast<T>().exp();
    Row<T>(until_end(), count_) = (sum - all).template cast<T>().exp();
    for (Index i = 0; gated_ && i < count_; ++i)
      Row<T>(b_.decays.row(i), i + 1) = (sums[i] - all.head(i + 1)).template cast<T>().exp();
  }

  /// Row i: its first i + `diagonal` numbers times scale D, the others 0.
  void mask(const Matrix<T>& tile, T scale, Index diagonal) const {
    for (Index i = 0; i < tile.rows; ++i) {
      const Index width = i + diagonal;
      Row<T> row(tile.row(i), width);
      if (gated_)
        row *= scale * ConstRow<T>(b_.decays.row(i), width);
      else
        row *= scale;
      std::fill(tile.row(i) + width, tile.row(i) + tile.cols, T(0));
    }
  }

  /// Everything up to E and U of the selected chunk, given the state before it.
  void solve(const Matrix<T>& state) const {
    load_factors();
    scale_rows(q_, scale_, since_start(), early_q_);
    scale_rows(k_, T(-1), since_start(), early_k_);
    scale_rows(k_, T(1), until_end(), late_k_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), k_, k_, false, overlaps_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), q_, k_, false, scores_);
    mask(overlaps_, T(-1), 0);
    mask(scores_, scale_, 1);
    copy_rows(it_.v.block(first_, count_), errors_);
    if (chunk_ > 0) gemm<T>(Transpose::no, Transpose::no, T(1), early_k_, state, true, errors_);
    for (Index begin = 0; begin < count_; begin += kSolved) {
      const Index rows = std::min(kSolved, count_ - begin);
      if (begin > 0)
        gemm<T>(Transpose::no, Transpose::no, T(1), overlaps_.block(begin, rows).columns(0, begin),
                updates_.block(0, begin), true, errors_.block(begin, rows));
      for (Index i = begin; i < begin + rows; ++i) {
        Row<T> e = array(errors_, i);
        for (Index j = begin; j < i; ++j)
          e += overlaps_.row(i)[j] * array(updates_, j);
        array(updates_, i) = beta()[i] * e;
      }
    }
  }

  /// dupdates: dU → W; dvalues = β W. From the last row to the first.
  void solve_back(const Matrix<T>& dupdates, const Matrix<T>& dvalues) const {
    for (Index begin = (count_ - 1) / kSolved * kSolved; begin >= 0; begin -= kSolved) {
      const Index end = std::min(begin + kSolved, count_), rows = end - begin;
      if (end < count_)
        gemm<T>(Transpose::yes, Transpose::no, T(1),
                overlaps_.block(end, count_ - end).columns(begin, rows),
                dvalues.block(end, count_ - end), true, dupdates.block(begin, rows));
      for (Index j = end - 1; j >= begin; --j) {
        Row<T> w = array(dupdates, j);
        for (Index i = j + 1; i < end; ++i)
          w += overlaps_.row(i)[j] * array(dvalues, i);
        array(dvalues, j) = beta()[j] * w;
      }
    }
  }

  /// Gradients of Q Kᵀ and K Kᵀ; dlog_decay becomes the tiles' share.
  void tile_gradients(const Matrix<T>& dy, const Matrix<T>& dvalues) {
    dscores_ = b_.dscores.block(0, count_).columns(0, count_);
    doverlaps_ = b_.doverlaps.block(0, count_).columns(0, count_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), dy, updates_, false, dscores_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), dvalues, updates_, false, doverlaps_);
    if (gated_) {
      // Token t decays all that goes from a j < t to an i >= t: `columns` sums over these i.
      Row<T> columns(b_.part.row(0), count_);
      columns.setZero();
      for (Index t = count_ - 1; t >= 0; --t) {
        const auto head = [&](const Matrix<T>& m) { return ConstRow<T>(m.row(t), t); };
        columns.head(t) += head(dscores_) * head(scores_) + head(doverlaps_) * head(overlaps_);
        dlog_decay()[t] = columns.head(t).sum();
      }
    }
    mask(dscores_, scale_, 1);
    mask(doverlaps_, T(-1), 0);
  }

  /// dq, dk and dg: first what goes through the states before and after the chunk.
  void row_gradients(const Matrix<T>& dy, const Matrix<T>& dvalues, const Matrix<T>& state,
                     const DeltaRuleItemGradients<T>& out) const {
    const Matrix<T> dq = b_.dq.block(0, count_), dk = b_.dk.block(0, count_),
                    part = b_.part.block(0, count_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), dy, state, false, dq);
    scale_rows(dq, scale_, since_start(), dq);
    gemm<T>(Transpose::no, Transpose::yes, T(1), dvalues, state, false, dk);
    scale_rows(dk, T(-1), since_start(), dk);
    gemm<T>(Transpose::no, Transpose::yes, T(1), updates_, b_.dstate, false, part);
    scale_rows(part, T(1), until_end(), part);
    if (gated_) decay_gradients(dq, dk, part, state, out);
    for (Index i = 0; i < count_; ++i)
      array(dk, i) += array(part, i);
    gemm<T>(Transpose::no, Transpose::no, T(1), dscores_, k_, true, dq);
    gemm<T>(Transpose::no, Transpose::no, T(1), doverlaps_, k_, true, dk);
    gemm<T>(Transpose::yes, Transpose::no, T(1), doverlaps_, k_, true, dk);
    gemm<T>(Transpose::yes, Transpose::no, T(1), dscores_, q_, true, dk);
    out.q.write_rows(first_, dq);
    out.k.write_rows(first_, dk);
  }

  /// Token t also decays what goes from the state to an i >= t (dq and dk_early are such rows),
  /// from a j < t to the next state (dk_late), and from state to state. Nothing is subtracted: a
  /// decay to nearly 0 gets a gradient of nearly 0.
  void decay_gradients(const Matrix<T>& dq, const Matrix<T>& dk_early, const Matrix<T>& dk_late,
                       const Matrix<T>& state, const DeltaRuleItemGradients<T>& out) const {
    T sum = 0;
    for (Index i = 0; i < p_.keys; ++i)
      sum += whole() * dot(state, b_.dstate, i);
    for (Index t = 0; t < count_; ++t) {
      dlog_decay()[t] += sum;
      sum += dot(k_, dk_late, t);
    }
    sum = 0;
    for (Index t = count_ - 1; t >= 0; --t) {
      sum += dot(q_, dq, t) + dot(k_, dk_early, t);
      out.log_decay.write(first_ + t, 0, dlog_decay()[t] + sum);
    }
  }

  void scale_state(const Matrix<T>& state) const {
    for (Index i = 0; i < state.rows; ++i)
      array(state, i) *= whole();
  }

  const DeltaRulePlan& p_;
  const DeltaRuleItem<T>& it_;
  Buffers<T> b_;
  T scale_;
  bool gated_;
  Index chunk_ = 0, first_ = 0, count_ = 0;
  Matrix<T> q_{}, k_{}, overlaps_{}, scores_{}, dscores_{}, doverlaps_{};
  Matrix<T> early_q_{}, early_k_{}, late_k_{}, errors_{}, updates_{};
};

}  // namespace

Index chunked_scratch(const DeltaRulePlan& p, bool backward) {
  return Buffers<double>(p, backward, nullptr).numbers;
}

Index chunked_states(const DeltaRulePlan& p) {
  return chunks(p) - 1;
}

template <class T>
void chunked_forward(const DeltaRulePlan& plan, const DeltaRuleItem<T>& item, const Matrix<T>& y,
                     T* scratch) {
  Chunked<T>(plan, item, false, scratch).forward(y);
}

template <class T>
void chunked_backward(const DeltaRulePlan& plan, const DeltaRuleItem<T>& item,
                      const DeltaRuleItemGradients<T>& gradients, T* scratch) {
  Chunked<T>(plan, item, true, scratch).backward(gradients);
}

#define INSTANTIATE(T)                                                                           \
  template void chunked_forward(const DeltaRulePlan&, const DeltaRuleItem<T>&, const Matrix<T>&, \
                                T*);                                                             \
  template void chunked_backward(const DeltaRulePlan&, const DeltaRuleItem<T>&,                  \
                                 const DeltaRuleItemGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
