// Chunks of kChunk tokens. Within one, y = (C Bᵀ ⊙ E) X with E[t, s] = a_{s+1} ... a_t Δ_s for
// s <= t; beyond it, a state S [N, P] a head of all tokens before. C Bᵀ serves all heads of a
// group.
#include "kernels/ssd/chunked_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise/softplus.h"
#include "kernels/matmul/gemm.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kChunk = 32;            // measured: 64 takes 1.1 to 1.25 times as long
constexpr Index kTiles = 6, kRows = 3;  // buffers [kChunk, kChunk] and [kChunk, N] of an item
constexpr double kNothing = 1e-30;  // decays below count as 0: products of them would be denormal

Index chunks(const SsdSize& s) {
  return (s.length + kChunk - 1) / kChunk;
}
/// Numbers of all states of a group, each matrix beginning at 64 bytes.
Index state_numbers(const SsdSize& s) {
  return padded_cols(s.states * s.head_dim) * s.heads_of_group();
}

template <class T>
T above_nothing(T decay) {
  return decay < T(kNothing) ? T(0) : decay;  // a NaN stays
}

/// The step sizes of one head over a chunk, and what follows from them.
template <class T>
struct Steps {
  T before[kChunk] = {};                  // step sizes before softplus
  alignas(64) T delta[kChunk];            // after it
  T a[kChunk];                            // the decay of one token
  T since_start[kChunk], to_end[kChunk];  // a_0 ... a_t and a_{t+1} ... a_end
  T rate;                                 // exp(a_log)

  void load(const SsdItem<T>& item, Index head, Index first, Index count) {
    rate = std::exp(item.a_log[head]);
    for (Index t = 0; t < count; ++t)
      before[t] = item.dt.row(first + t)[head] + item.dt_bias[head];
    softplus(before, delta, kChunk);
    T product = 1;
    for (Index t = 0; t < count; ++t) {
      a[t] = std::exp(-rate * delta[t]);
      product = above_nothing(product * a[t]);
      since_start[t] = product;
    }
    product = 1;
    for (Index t = count - 1; t >= 0; --t) {
      to_end[t] = product;
      product = above_nothing(product * a[t]);
    }
  }
};

/// to[t] = factor(t) from[t], rows of `from`.
template <class T, class Factor>
void scale_rows(const Matrix<T>& from, const Factor& factor, const Matrix<T>& to) {
  for (Index t = 0; t < from.rows; ++t) {
    const T f = factor(t);
    const T* source = from.row(t);
    T* target = to.row(t);
    for (Index n = 0; n < from.cols; ++n)
      target[n] = f * source[n];
  }
}

template <class T>
class Chunked {
 public:
  Chunked(const SsdSize& s, const SsdItem<T>& item, T* scratch) : s_(s), it_(item) {
    const auto take = [&](Index rows, Index cols, Index stride) {
      const Matrix<T> m{scratch, rows, cols, stride};
      scratch += rows * stride;
      return m;
    };
    for (Matrix<T>* m : {&scores_, &dscores_, &decays_, &dlogs_, &weights_, &dweights_})
      *m = take(kChunk, kChunk, kChunk);
    for (Matrix<T>* m : {&rows_, &db_, &dc_})
      *m = take(kChunk, s.states, padded_cols(s.states));
    dstates_ = take(1, state_numbers(s), state_numbers(s));
    states_ = scratch;  // backward: those before every chunk
  }

  void forward(const Matrix<T>& y) {
    std::fill_n(states_, state_numbers(s_), T(0));
    for (Index c = 0; c < chunks(s_); ++c) {
      select(c);
      make_scores();
      for (Index h = 0; h < s_.heads_of_group(); ++h) {
        steps_.load(it_, h, first_, count_);
        make_weights();
        const Matrix<T> to = head(y, h), x = head(it_.x, h), state = state_of(states_, h);
        gemm<T>(Transpose::no, Transpose::no, T(1), tile(weights_), x, false, to);
        gemm<T>(Transpose::no, Transpose::no, T(1), decayed_c(), state, true, to);
        for (Index t = 0; t < count_; ++t)
          for (Index p = 0; p < s_.head_dim; ++p)
            to.row(t)[p] += skip(h, p) * x.row(t)[p];
        advance(state, x, state);
      }
    }
  }

  void backward(const SsdItemGradients<T>& g) {
    make_states();
    std::fill_n(dstates_.data, state_numbers(s_), T(0));
    std::fill_n(g.a_log, s_.heads_of_group(), T(0));
    std::fill_n(g.dt_bias, s_.heads_of_group(), T(0));
    std::fill_n(g.d, s_.skips / s_.groups, T(0));
    for (Index c = chunks(s_) - 1; c >= 0; --c) {
      select(c);
      make_scores();
      for (const Matrix<T>& m : {tile(dscores_), rows(db_), rows(dc_)})
        clear(m);
      for (Index h = 0; h < s_.heads_of_group(); ++h)
        head_back(g, h, state_of(states_ + c * state_numbers(s_), h), state_of(dstates_.data, h));
      const Matrix<T> b = it_.b.block(first_, count_), cs = it_.c.block(first_, count_);
      gemm<T>(Transpose::yes, Transpose::no, T(1), tile(dscores_), cs, true, rows(db_));
      gemm<T>(Transpose::no, Transpose::no, T(1), tile(dscores_), b, true, rows(dc_));
      g.b.write_rows(first_, rows(db_));
      g.c.write_rows(first_, rows(dc_));
    }
  }

 private:
  void select(Index chunk) {
    first_ = chunk * kChunk;
    count_ = std::min(kChunk, s_.length - first_);
  }
  Matrix<T> tile(const Matrix<T>& m) const { return m.block(0, count_).columns(0, count_); }
  Matrix<T> rows(const Matrix<T>& m) const { return m.block(0, count_); }
  Matrix<T> head(const Matrix<T>& all, Index h) const {
    return all.block(first_, count_).columns(h * s_.head_dim, s_.head_dim);
  }
  Matrix<T> state_of(T* states, Index h) const {
    return {states + h * (state_numbers(s_) / s_.heads_of_group()), s_.states, s_.head_dim,
            s_.head_dim};
  }
  T skip(Index h, Index p) const {
    return s_.skips == s_.heads ? it_.d[h] : it_.d[h * s_.head_dim + p];
  }

  /// scores = C Bᵀ, of which the lower triangle is used.
  void make_scores() const {
    gemm<T>(Transpose::no, Transpose::yes, T(1), it_.c.block(first_, count_),
            it_.b.block(first_, count_), false, tile(scores_));
  }

  /// decays[t, s] = a_{s+1} ... a_t and weights = scores ⊙ decays Δ_s for s <= t, else 0.
  void make_weights() const {
    for (Index t = 0; t < count_; ++t) {
      T* __restrict decay = decays_.row(t);
      T* __restrict weight = weights_.row(t);
      const T* score = scores_.row(t);
      if (t > 0)
        for (Index s = 0; s < t; ++s)
          decay[s] = above_nothing(decays_.row(t - 1)[s] * steps_.a[t]);
      decay[t] = 1;
      for (Index s = 0; s <= t; ++s)
        weight[s] = score[s] * decay[s] * steps_.delta[s];
      std::fill(weight + t + 1, weight + count_, T(0));
    }
  }

  /// a_0 ... a_t c_t: what meets the state before the chunk.
  Matrix<T> decayed_c() const {
    const Matrix<T> to = rows(rows_);
    scale_rows(
        it_.c.block(first_, count_), [&](Index t) { return steps_.since_start[t]; }, to);
    return to;
  }
  /// Δ_s a_{s+1} ... a_end b_s: what enters the state after it.
  Matrix<T> entering_b() const {
    const Matrix<T> to = rows(rows_);
    scale_rows(
        it_.b.block(first_, count_), [&](Index s) { return entering(s); }, to);
    return to;
  }
  T entering(Index s) const { return steps_.to_end[s] * steps_.delta[s]; }
  T over_chunk() const { return steps_.since_start[count_ - 1]; }

  /// after = the state at the chunk's end.
  void advance(const Matrix<T>& before, const Matrix<T>& x, const Matrix<T>& after) const {
    for (Index i = 0; i < s_.states * s_.head_dim; ++i)
      after.data[i] = over_chunk() * before.data[i];
    gemm<T>(Transpose::yes, Transpose::no, T(1), entering_b(), x, true, after);
  }

  /// The state before every chunk, of every head.
  void make_states() {
    std::fill_n(states_, state_numbers(s_), T(0));
    for (Index c = 0; c + 1 < chunks(s_); ++c) {
      select(c);
      T* now = states_ + c * state_numbers(s_);
      for (Index h = 0; h < s_.heads_of_group(); ++h) {
        steps_.load(it_, h, first_, count_);
        advance(state_of(now, h), head(it_.x, h), state_of(now + state_numbers(s_), h));
      }
    }
  }

  /// One head of a chunk. `dstate` is the gradient of the state after it, and becomes that before.
  /// Gradients of Σ_{r<=t} ln a_r collect in `dlog`, those of Δ_s in `ddelta`.
  void head_back(const SsdItemGradients<T>& g, Index h, const Matrix<T>& state,
                 const Matrix<T>& dstate) {
    const Matrix<T> x = head(it_.x, h), dy = head(g.dy, h);
    T dlog[kChunk] = {}, ddelta[kChunk] = {};
    steps_.load(it_, h, first_, count_);
    make_weights();
    gemm<T>(Transpose::no, Transpose::yes, T(1), dy, x, false, tile(dweights_));
    weights_back(dlog, ddelta);
    if (g.x.wanted()) x_back(head(g.x.to, h), g.x.accumulate, h, dy, dstate);
    skip_back(dy, x, h, g.d);
    dlog[count_ - 1] +=
        over_chunk() * dot_in_lanes(dstate.data, state.data, s_.states * s_.head_dim);
    output_back(dy, state, dlog);
    state_back(x, dstate, dlog, ddelta);
    for (Index i = 0; i < s_.states * s_.head_dim; ++i)
      dstate.data[i] *= over_chunk();
    gemm<T>(Transpose::yes, Transpose::no, T(1), decayed_c(), dy, true, dstate);
    steps_back(g, h, dlog, ddelta);
  }

  /// From the weights' gradients to those of scores, decays and step sizes.
  void weights_back(T* __restrict dlog, T* __restrict ddelta) const {
    for (Index t = 0; t < count_; ++t) {
      const T *dweight = dweights_.row(t), *decay = decays_.row(t), *score = scores_.row(t);
      const T* delta = steps_.delta;
      T* __restrict dscore = dscores_.row(t);
      T* __restrict change = dlogs_.row(t);
      for (Index s = 0; s <= t; ++s) {
        const T through = dweight[s] * decay[s];
        dscore[s] += through * delta[s];
        ddelta[s] += through * score[s];
        change[s] = through * score[s] * delta[s];
      }
      // The diagonal has no decay: what it would add and take away cancels.
      for (Index s = 0; s < t; ++s)
        dlog[s] -= change[s];
      T sum = 0;
      for (Index s = 0; s < t; ++s)
        sum += change[s];
      dlog[t] += sum;
    }
  }

  void x_back(const Matrix<T>& dx, bool add, Index h, const Matrix<T>& dy,
              const Matrix<T>& dstate) const {
    gemm<T>(Transpose::yes, Transpose::no, T(1), tile(weights_), dy, add, dx);
    gemm<T>(Transpose::no, Transpose::no, T(1), entering_b(), dstate, true, dx);
    for (Index t = 0; t < count_; ++t)
      for (Index p = 0; p < s_.head_dim; ++p)
        dx.row(t)[p] += skip(h, p) * dy.row(t)[p];
  }

  void skip_back(const Matrix<T>& dy, const Matrix<T>& x, Index h, T* dd) const {
    for (Index t = 0; t < count_; ++t) {
      if (s_.skips == s_.heads)
        dd[h] += dot_in_lanes(dy.row(t), x.row(t), s_.head_dim);
      else
        for (Index p = 0; p < s_.head_dim; ++p)
          dd[h * s_.head_dim + p] += dy.row(t)[p] * x.row(t)[p];
    }
  }

  /// Through y_t = a_0 ... a_t Sᵀ c_t.
  void output_back(const Matrix<T>& dy, const Matrix<T>& state, T* dlog) const {
    const Matrix<T> products = rows(rows_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), dy, state, false, products);
    for (Index t = 0; t < count_; ++t) {
      const T decay = steps_.since_start[t];
      dlog[t] += decay * dot_in_lanes(it_.c.row(first_ + t), products.row(t), s_.states);
      for (Index n = 0; n < s_.states; ++n)
        dc_.row(t)[n] += decay * products.row(t)[n];
    }
  }

  /// Through what each token leaves in the state after the chunk.
  void state_back(const Matrix<T>& x, const Matrix<T>& dstate, T* dlog, T* ddelta) const {
    const Matrix<T> products = rows(rows_);
    gemm<T>(Transpose::no, Transpose::yes, T(1), x, dstate, false, products);
    for (Index s = 0; s < count_; ++s) {
      const T product = dot_in_lanes(it_.b.row(first_ + s), products.row(s), s_.states);
      ddelta[s] += steps_.to_end[s] * product;
      dlog[s] -= entering(s) * product;
      dlog[count_ - 1] += entering(s) * product;
      for (Index n = 0; n < s_.states; ++n)
        db_.row(s)[n] += entering(s) * products.row(s)[n];
    }
  }

  /// To dt, dt_bias and a_log: ln a_r = -exp(a_log) Δ_r acts on all sums from r on.
  void steps_back(const SsdItemGradients<T>& g, Index h, const T* dlog, T* ddelta) const {
    alignas(64) T slopes[kChunk];
    softplus_slope(steps_.before, slopes, kChunk);
    T since = 0;
    for (Index t = count_ - 1; t >= 0; --t) {
      since += dlog[t];
      // Nothing crosses a decay to 0: a rounding error times a large rate would be left.
      const T crossing = steps_.a[t] < T(kNothing) ? T(0) : since;
      g.a_log[h] -= crossing * steps_.rate * steps_.delta[t];
      ddelta[t] = slopes[t] * (ddelta[t] - steps_.rate * crossing);
      g.dt_bias[h] += ddelta[t];
      g.dt.write(first_ + t, h, ddelta[t]);
    }
  }

  const SsdSize& s_;
  const SsdItem<T>& it_;
  Matrix<T> scores_{}, dscores_{}, decays_{}, dlogs_{}, weights_{}, dweights_{};
  Matrix<T> rows_{}, db_{}, dc_{}, dstates_{};
  T* states_ = nullptr;
  Steps<T> steps_;
  Index first_ = 0, count_ = 0;
};

}  // namespace

Index ssd_chunked_scratch(const SsdSize& s, bool backward) {
  return kTiles * kChunk * kChunk + kRows * kChunk * padded_cols(s.states) +
         (1 + (backward ? chunks(s) : 1)) * state_numbers(s);
}

template <class T>
void ssd_chunked_forward(const SsdSize& size, const SsdItem<T>& item, const Matrix<T>& y,
                         T* scratch) {
  Chunked<T>(size, item, scratch).forward(y);
}

template <class T>
void ssd_chunked_backward(const SsdSize& size, const SsdItem<T>& item,
                          const SsdItemGradients<T>& gradients, T* scratch) {
  Chunked<T>(size, item, scratch).backward(gradients);
}

#define INSTANTIATE(T)                                                                        \
  template void ssd_chunked_forward(const SsdSize&, const SsdItem<T>&, const Matrix<T>&, T*); \
  template void ssd_chunked_backward(const SsdSize&, const SsdItem<T>&,                       \
                                     const SsdItemGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
