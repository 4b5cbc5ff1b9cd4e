// Chunks of kChunk positions: weights within a chunk, a state S = Σ φ(k) [v, 1]ᵀ of all before it.
// The last column of everything in the width of S is the denominator's.
#include <cmath>
#include <numbers>

#include "kernels/linear_attention/item_cpu.h"
#include "kernels/linear_attention/rows_cpu.h"
#include "kernels/matmul/gemm.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kChunk = 64;

/// Rows of S and the like: v and the one, padded so that every row begins at 64 bytes.
Index state_stride(const LinearAttentionPlan& p) {
  return padded_cols(p.values + 1);
}

/// F: features in full, products of `taylor` once.
Index state_rows(const LinearAttentionPlan& p) {
  const Index f = p.features;
  return p.options.kernel == LinearKernel::taylor ? 1 + f + f * (f + 1) / 2 : f;
}

Index chunks(const LinearAttentionPlan& p) {
  return (p.length + kChunk - 1) / kChunk;
}

/// Working memory, carved from scratch.
template <class T>
struct Buffers {
  Matrix<T> tile, dtile, values, sums, phi_q, phi_k, dphi, state, dstate;

  Buffers(const LinearAttentionPlan& p, T* scratch) {
    const Index stride = state_stride(p), width = p.values + 1, rows = state_rows(p);
    const auto take = [&](Index r, Index c, Index s) {
      const Matrix<T> m{scratch, r, c, s};
      scratch += padded_cols(r * s);
      return m;
    };
    tile = take(kChunk, kChunk, kChunk);
    dtile = take(kChunk, kChunk, kChunk);
    values = take(kChunk, width, stride);
    sums = take(kChunk, width, stride);
    phi_q = take(kChunk, rows, rows);
    phi_k = take(kChunk, rows, rows);
    dphi = take(kChunk, rows, rows);
    dstate = take(rows, width, stride);
    state = take(rows, width, stride);  // backward: one for each chunk follows
  }
};

Index buffer_numbers(const LinearAttentionPlan& p, Index states) {
  const Index stride = state_stride(p), rows = state_rows(p);
  return 2 * kChunk * kChunk + 2 * kChunk * stride + 3 * kChunk * rows +
         (1 + states) * rows * stride;
}

/// x' = √scale x; φ = [1; x'; and for each i: x'_i x'_j for j < i, x'_i²/√2].
template <class T>
void taylor_features(const Matrix<T>& x, T scale, const Matrix<T>& phi) {
  const T root = std::sqrt(scale), half_root = T(std::numbers::sqrt2 / 2);
  for (Index t = 0; t < x.rows; ++t) {
    const T* from = x.row(t);
    T* linear = phi.row(t) + 1;
    T* to = linear + x.cols;
    phi.row(t)[0] = 1;
    for (Index i = 0; i < x.cols; ++i)
      linear[i] = root * from[i];
    for (Index i = 0; i < x.cols; ++i) {
      for (Index j = 0; j < i; ++j)
        *to++ = linear[i] * linear[j];
      *to++ = half_root * linear[i] * linear[i];
    }
  }
}

/// dx += the gradient through taylor_features, given dφ.
template <class T>
void taylor_features_backward(const Matrix<T>& phi, const Matrix<T>& dphi, T scale,
                              const Matrix<T>& dx) {
  const T root = std::sqrt(scale), root2 = T(std::numbers::sqrt2);
  for (Index t = 0; t < dx.rows; ++t) {
    const T* linear = phi.row(t) + 1;
    const T* from = dphi.row(t) + 1 + dx.cols;
    T* to = dx.row(t);
    for (Index i = 0; i < dx.cols; ++i) {
      T sum = dphi.row(t)[1 + i];
      const T by = root * linear[i];
      for (Index j = 0; j < i; ++j) {
        sum += from[j] * linear[j];
        to[j] += from[j] * by;
      }
      sum += root2 * from[i] * linear[i];
      to[i] += root * sum;
      from += i + 1;
    }
  }
}

template <class T>
class Chunked {
 public:
  Chunked(const LinearAttentionPlan& p, const LinearAttentionItem<T>& item, T* scratch)
      : p_(p),
        it_(item),
        b_(p, scratch),
        taylor_(p.options.kernel == LinearKernel::taylor),
        scale_(T(p.options.scale)) {}

  void forward() {
    clear(b_.state);
    for (Index c = 0; c < chunks(p_); ++c) {
      select(c);
      const Matrix<T> phi_q = features(q_, b_.phi_q), phi_k = features(k_, b_.phi_k);
      load_values();
      weights();
      gemm<T>(Transpose::no, Transpose::no, T(1), tile_, values_, false, sums_);
      gemm<T>(Transpose::no, Transpose::no, T(1), phi_q, b_.state, true, sums_);
      for (Index i = 0; i < count_; ++i) {
        const T denominator = sums_.row(i)[p_.values] + T(p_.options.eps);
        it_.denominator(first_ + i) = denominator;
        std::copy_n(sums_.row(i), p_.values, it_.y.row(first_ + i));
        scale_row(it_.y.row(first_ + i), p_.values, 1 / denominator);
      }
      gemm<T>(Transpose::yes, Transpose::no, T(1), phi_k, values_, true, b_.state);
    }
  }

  /// `sums` holds o = [dy / denominator, -<dy, y> / denominator]. Within a chunk as in the
  /// quadratic form; beyond it, with the state S before the chunk and G = Σ φ(q) oᵀ after it,
  /// dφ(q) = o Sᵀ, dφ(k) = [v, 1] Gᵀ, d[v, 1] = φ(k) G.
  void backward(const LinearAttentionItemGradients<T>& g) {
    all_states();
    clear(b_.dstate);
    for (Index c = chunks(p_) - 1; c >= 0; --c) {
      select(c);
      const Matrix<T> phi_q = features(q_, b_.phi_q), phi_k = features(k_, b_.phi_k);
      load_values();
      load_output_gradient(g.dy);
      weight_gradients();
      if (g.dq.wanted()) {
        const Matrix<T> dq = g.dq.to.block(first_, count_);
        gemm<T>(Transpose::no, Transpose::no, scale_, dtile_, k_, g.dq.accumulate, dq);
        add_through_features(sums_, state(c), phi_q, dq);
      }
      if (g.dk.wanted()) {
        const Matrix<T> dk = g.dk.to.block(first_, count_);
        gemm<T>(Transpose::yes, Transpose::no, scale_, dtile_, q_, true, dk);
        add_through_features(values_, b_.dstate, phi_k, dk);
      }
      if (g.dv.wanted()) {
        const Matrix<T> dv = g.dv.to.block(first_, count_);
        gemm<T>(Transpose::yes, Transpose::no, T(1), tile_, sums_.columns(0, p_.values), true, dv);
        gemm<T>(Transpose::no, Transpose::no, T(1), phi_k, b_.dstate.columns(0, p_.values), true,
                dv);
      }
      gemm<T>(Transpose::yes, Transpose::no, T(1), phi_q, sums_, true, b_.dstate);
    }
  }

 private:
  Matrix<T> state(Index chunk) const {
    Matrix<T> s = b_.state;
    s.data += chunk * s.rows * s.stride;
    return s;
  }

  void select(Index chunk) {
    first_ = chunk * kChunk;
    count_ = std::min(kChunk, p_.length - first_);
    q_ = it_.q.block(first_, count_);
    k_ = it_.k.block(first_, count_);
    values_ = b_.values.block(0, count_);
    sums_ = b_.sums.block(0, count_);
    tile_ = b_.tile.block(0, count_).columns(0, count_);
    dtile_ = b_.dtile.block(0, count_).columns(0, count_);
  }

  Matrix<T> features(const Matrix<T>& x, const Matrix<T>& buffer) const {
    if (!taylor_) return x;
    const Matrix<T> phi = buffer.block(0, count_);
    taylor_features(x, scale_, phi);
    return phi;
  }

  void load_values() const {
    for (Index i = 0; i < count_; ++i) {
      std::copy_n(it_.v.row(first_ + i), p_.values, values_.row(i));
      values_.row(i)[p_.values] = 1;
    }
  }

  void load_output_gradient(const Matrix<T>& dy) const {
    for (Index i = 0; i < count_; ++i) {
      const T* from = dy.row(first_ + i);
      const T inverse = 1 / it_.denominator(first_ + i);
      for (Index c = 0; c < p_.values; ++c)
        sums_.row(i)[c] = from[c] * inverse;
      sums_.row(i)[p_.values] = -dot_in_lanes(from, it_.y.row(first_ + i), p_.values) * inverse;
    }
  }

  /// tile = weights within the chunk, 0 above the diagonal.
  void weights() const {
    gemm<T>(Transpose::no, Transpose::yes, scale_, q_, k_, false, tile_);
    for (Index i = 0; i < count_; ++i) {
      if (taylor_) taylor_row(tile_.row(i), i + 1);
      std::fill(tile_.row(i) + i + 1, tile_.row(i) + count_, T(0));
    }
  }

  /// tile = weights, dtile = gradients of the scores, both within the chunk.
  void weight_gradients() const {
    gemm<T>(Transpose::no, Transpose::yes, scale_, q_, k_, false, tile_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), sums_, values_, false, dtile_);
    for (Index i = 0; i < count_; ++i) {
      if (taylor_) taylor_gradient_row(tile_.row(i), dtile_.row(i), T(0), i + 1);
      std::fill(tile_.row(i) + i + 1, tile_.row(i) + count_, T(0));
      std::fill(dtile_.row(i) + i + 1, dtile_.row(i) + count_, T(0));
    }
  }

  /// dx += the gradient of x where φ(x) = phi has the gradient rows · stateᵀ.
  void add_through_features(const Matrix<T>& rows, const Matrix<T>& state, const Matrix<T>& phi,
                            const Matrix<T>& dx) const {
    if (!taylor_) {
      gemm<T>(Transpose::no, Transpose::yes, T(1), rows, state, true, dx);
      return;
    }
    const Matrix<T> dphi = b_.dphi.block(0, count_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), rows, state, false, dphi);
    taylor_features_backward(phi, dphi, scale_, dx);
  }

  /// The state before every chunk.
  void all_states() {
    clear(state(0));
    for (Index c = 0; c + 1 < chunks(p_); ++c) {
      select(c);
      load_values();
      const Matrix<T> next = state(c + 1);
      std::copy_n(state(c).data, next.rows * next.stride, next.data);
      gemm<T>(Transpose::yes, Transpose::no, T(1), features(k_, b_.phi_k), values_, true, next);
    }
  }

  const LinearAttentionPlan& p_;
  const LinearAttentionItem<T>& it_;
  Buffers<T> b_;
  bool taylor_;
  T scale_;
  Index first_ = 0, count_ = 0;
  Matrix<T> q_{}, k_{}, values_{}, sums_{}, tile_{}, dtile_{};
};

}  // namespace

Index chunked_scratch(const LinearAttentionPlan& p, bool backward) {
  return buffer_numbers(p, backward ? chunks(p) : 1);
}

/// By multiplications a position; measured, the forms break even within a fifth of where they do
/// (taylor of 16 features: 700 for 625 positions; of 8: 260 for 290; 64 given features: 256).
bool chunked_pays(const LinearAttentionPlan& p) {
  if (p.options.at_labels) return false;
  const double width = static_cast<double>(p.features + p.values);
  const double quadratic = static_cast<double>(p.length) / 2 * width;
  const double chunked =
      static_cast<double>(kChunk) * width + 2 * static_cast<double>(state_rows(p) * (p.values + 1));
  return quadratic > chunked;
}

template <class T>
void chunked_forward(const LinearAttentionPlan& plan, const LinearAttentionItem<T>& item,
                     T* scratch) {
  Chunked<T>(plan, item, scratch).forward();
}

template <class T>
void chunked_backward(const LinearAttentionPlan& plan, const LinearAttentionItem<T>& item,
                      const LinearAttentionItemGradients<T>& gradients, T* scratch) {
  Chunked<T>(plan, item, scratch).backward(gradients);
}

template void chunked_forward(const LinearAttentionPlan&, const LinearAttentionItem<float>&,
                              float*);
template void chunked_forward(const LinearAttentionPlan&, const LinearAttentionItem<double>&,
                              double*);
template void chunked_backward(const LinearAttentionPlan&, const LinearAttentionItem<float>&,
                               const LinearAttentionItemGradients<float>&, float*);
template void chunked_backward(const LinearAttentionPlan&, const LinearAttentionItem<double>&,
                               const LinearAttentionItemGradients<double>&, double*);

}  // namespace recallbench
