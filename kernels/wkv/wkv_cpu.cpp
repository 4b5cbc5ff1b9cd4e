#include "kernels/wkv/wkv_cpu.h"

#include <Eigen/Core>
#include <algorithm>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// A block of work is one example and kLanes channels; channels beyond the last are zeros, so that
// all arithmetic has one constant length.
constexpr Index kLanes = 16;

template <class T>
using Lanes = Eigen::Array<T, kLanes, 1>;
template <class T>
using LanesMap = Eigen::Map<Lanes<T>>;

// Exponents start here: e^(this - anything) is 0, in float too.
constexpr double kNone = -1e38;

Index blocks(Index channels) {
  return (channels + kLanes - 1) / kLanes;
}

template <class T>
Lanes<T> load(const T* row, Index first, Index width) {
  Lanes<T> lanes = Lanes<T>::Zero();
  std::copy_n(row + first, width, lanes.data());
  return lanes;
}

template <class T>
void store(const Lanes<T>& values, const Gradient<T>& to, Index r, Index row, Index first,
           Index width) {
  if (!to.wanted) return;
  T* at = to.view.replica(r).row(row) + first;
  for (Index i = 0; i < width; ++i)
    at[i] = to.accumulate ? at[i] + values[i] : values[i];
}

/// e^(a - m) and e^(b - m) with m = max(a, b), from one exponential.
template <class T>
struct Relative {
  Lanes<T> a, b, m;
  Relative(const Lanes<T>& first, const Lanes<T>& second) : m(first.max(second)) {
    const Lanes<T> smaller = (-(first - second).abs()).exp();
    // A NaN compares false and takes the exponential, which passes it on.
    a = (first >= second).select(T(1), smaller);
    b = (first >= second).select(smaller, Lanes<T>::Ones());
  }
};

/// Sums p = Σ e^{..} v and q = Σ e^{..}, both times e^{-o}.
template <class T>
struct Sums {
  Lanes<T> p = Lanes<T>::Zero(), q = Lanes<T>::Zero(), o = Lanes<T>::Constant(T(kNone));

  void advance(const Lanes<T>& w, const Lanes<T>& k, const Lanes<T>& v) {
    const Relative<T> e(w + o, k);
    p = e.a * p + e.b * v;
    q = e.a * q + e.b;
    o = e.m;
  }
};

/// What a block of work reads.
template <class T>
struct Block {
  Index first_row, first, width;
  Lanes<T> w, u;
  Matrix<T> ks, vs;

  Block(const WkvSize& s, const WkvViews<T>& in, Index r, Index index)
      : first_row(index / blocks(s.channels) * s.length),
        first(index % blocks(s.channels) * kLanes),
        width(std::min(kLanes, s.channels - first)),
        w(-load(in.time_decay.replica(r).data, first, width).exp()),
        u(load(in.time_first.replica(r).data, first, width)),
        ks(in.k.replica(r)),
        vs(in.v.replica(r)) {}
  Lanes<T> k(Index t) const { return load(ks.row(first_row + t), first, width); }
  Lanes<T> v(Index t) const { return load(vs.row(first_row + t), first, width); }
};

/// Of one block in backward: p, q, o before every token, and its shares of dw and du.
Index block_scratch(const WkvSize& s) {
  return (3 * s.length + 2) * kLanes;
}

/// With D the denominator, n = dy / D, P and Q the gradients of p and q from later tokens:
///   dv_t = n e^{u+k} + P e^k,   s = n e^{u+k} (v - y),   dk_t = s + e^k (P v + Q),   du += s,
///   dw += e^w (P p + Q q),   P ← e^w P + n,   Q ← e^w Q - n y.
/// P and Q are carried times e^{-rho}; every exponent that is formed is at most 0.
template <class T>
void block_back(const WkvSize& s, const WkvViews<T>& in, const Matrix<T>& y, const Matrix<T>& dy,
                const WkvGradients<T>& out, Index r, Index index, T* own) {
  const Block<T> b(s, in, r, index);
  Sums<T> sums;
  for (Index t = 0; t < s.length; ++t) {
    T* at = own + (3 * t + 2) * kLanes;
    LanesMap<T>{at} = sums.p;
    LanesMap<T>{at + kLanes} = sums.q;
    LanesMap<T>{at + 2 * kLanes} = sums.o;
    sums.advance(b.w, b.k(t), b.v(t));
  }
  Lanes<T> dp = Lanes<T>::Zero(), dq = dp, dw = dp, du = dp, rho = Lanes<T>::Constant(T(kNone));
  for (Index t = s.length - 1; t >= 0; --t) {
    T* at = own + (3 * t + 2) * kLanes;
    const LanesMap<T> p(at), q(at + kLanes), o(at + 2 * kLanes);
    const Lanes<T> k = b.k(t), v = b.v(t), yt = load(y.row(b.first_row + t), b.first, b.width);
    const Relative<T> e(o, b.u + k);
    const Lanes<T> n = load(dy.row(b.first_row + t), b.first, b.width) / (e.a * q + e.b);
    const Lanes<T> share = n * e.b * (v - yt), later = (k + rho).exp();
    store<T>(n * e.b + dp * later, out.v, r, b.first_row + t, b.first, b.width);
    store<T>(share + later * (dp * v + dq), out.k, r, b.first_row + t, b.first, b.width);
    du += share;
    dw += (b.w + rho + o).exp() * (dp * p + dq * q);
    const Relative<T> next(b.w + rho, -e.m);
    dp = next.a * dp + next.b * n;
    dq = next.a * dq - next.b * n * yt;
    rho = next.m;
  }
  LanesMap<T>{own} = dw;
  LanesMap<T>{own + kLanes} = du;
}

/// dtime_decay = w dw and dtime_first = du: the examples' shares, in order.
template <class T>
void sum_channel_gradients(const WkvSize& s, const WkvViews<T>& in, const T* scratch,
                           const WkvGradients<T>& out, Index r) {
  const Index count = blocks(s.channels);
  for (Index block = 0; block < count; ++block) {
    const Block<T> b(s, in, r, block);
    Lanes<T> dw = Lanes<T>::Zero(), du = dw;
    for (Index example = 0; example < s.examples; ++example) {
      const T* own = scratch + (example * count + block) * block_scratch(s);
      dw += Eigen::Map<const Lanes<T>>(own);
      du += Eigen::Map<const Lanes<T>>(own + kLanes);
    }
    store<T>(dw * b.w, out.time_decay, r, 0, b.first, b.width);
    store<T>(du, out.time_first, r, 0, b.first, b.width);
  }
}

}  // namespace

Index wkv_scratch(const WkvSize& s) {
  return s.examples * blocks(s.channels) * block_scratch(s);
}

template <class T>
void wkv_forward_cpu(const WkvSize& s, const WkvViews<T>& in, const Batched<T>& y) {
  for (Index r = 0; r < y.replicas; ++r)
    parallel_for(s.examples * blocks(s.channels), [&](Index index) {
      const Block<T> b(s, in, r, index);
      const Gradient<T> to{y, true, false};
      Sums<T> sums;
      for (Index t = 0; t < s.length; ++t) {
        const Lanes<T> k = b.k(t), v = b.v(t);
        const Relative<T> e(sums.o, b.u + k);
        store<T>((e.a * sums.p + e.b * v) / (e.a * sums.q + e.b), to, r, b.first_row + t, b.first,
                 b.width);
        sums.advance(b.w, k, v);
      }
    });
}

template <class T>
void wkv_backward_cpu(const WkvSize& s, const WkvViews<T>& in, const Batched<T>& y,
                      const Batched<T>& dy, const WkvGradients<T>& out, T* scratch) {
  for (Index r = 0; r < y.replicas; ++r) {
    parallel_for(s.examples * blocks(s.channels), [&](Index index) {
      block_back(s, in, y.replica(r), dy.replica(r), out, r, index,
                 scratch + index * block_scratch(s));
    });
    sum_channel_gradients(s, in, scratch, out, r);
  }
}

#define INSTANTIATE(T)                                                                  \
  template void wkv_forward_cpu(const WkvSize&, const WkvViews<T>&, const Batched<T>&); \
  template void wkv_backward_cpu(const WkvSize&, const WkvViews<T>&, const Batched<T>&, \
                                 const Batched<T>&, const WkvGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
