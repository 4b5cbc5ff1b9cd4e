#include "kernels/wkv/wkv_cpu.h"

#include <Eigen/Core>
#include <algorithm>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Channels go by groups of kLanes, those beyond the last as zeros, so that all arithmetic has one
// constant length. A block of work is one example and up to kGroups groups, which it moves on
// together, token by token, so that it reads whole stretches of a row.
constexpr Index kLanes = 16;
constexpr Index kGroups = 8;

template <class T>
using Lanes = Eigen::Array<T, kLanes, 1>;
template <class T>
using LanesMap = Eigen::Map<Lanes<T>>;

// Exponents start here: e^(this - anything) is 0, in float too.
constexpr double kNone = -1e38;

Index groups(const WkvSize& s) {
  return (s.channels + kLanes - 1) / kLanes;
}
Index blocks(const WkvSize& s) {
  return (groups(s) + kGroups - 1) / kGroups;
}

/// Whole groups take the first way: a copy of variable length costs more than the arithmetic.
template <class T>
Lanes<T> load(const T* row, Index first, Index width) {
  if (width == kLanes) return Eigen::Map<const Lanes<T>>(row + first);
  Lanes<T> lanes = Lanes<T>::Zero();
  std::copy_n(row + first, width, lanes.data());
  return lanes;
}

template <class T>
void store(const Lanes<T>& values, const Gradient<T>& to, Index r, Index row, Index first,
           Index width) {
  if (!to.wanted) return;
  T* at = to.view.replica(r).row(row) + first;
  if (width == kLanes) {
    if (to.accumulate)
      LanesMap<T>{at} += values;
    else
      LanesMap<T>{at} = values;
    return;
  }
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

/// kLanes channels and their parameters.
template <class T>
struct Group {
  Index first = 0, width = 0;
  Lanes<T> w, u;

  void load_parameters(const WkvSize& s, const WkvViews<T>& in, Index r, Index group) {
    first = group * kLanes;
    width = std::min(kLanes, s.channels - first);
    w = -load(in.time_decay.replica(r).data, first, width).exp();
    u = load(in.time_first.replica(r).data, first, width);
  }
  Lanes<T> of(const Matrix<T>& x, Index row) const { return load(x.row(row), first, width); }
};

template <class T>
struct Block {
  Index example, first_group, count;
  Group<T> group[kGroups];

  Block(const WkvSize& s, const WkvViews<T>& in, Index r, Index index)
      : example(index / blocks(s)),
        first_group(index % blocks(s) * kGroups),
        count(std::min(kGroups, groups(s) - first_group)) {
    for (Index g = 0; g < count; ++g)
      group[g].load_parameters(s, in, r, first_group + g);
  }
};

/// Of one group in backward: its shares of dw and du, then p, q, o before every token.
Index group_scratch(const WkvSize& s) {
  return (2 + 3 * s.length) * kLanes;
}

/// A group on its way back. With D the denominator, n = dy / D, P and Q the gradients of p and q
/// from later tokens:
///   dv_t = n e^{u+k} + P e^k,   s = n e^{u+k} (v - y),   dk_t = s + e^k (P v + Q),   du += s,
///   dw += e^w (P p + Q q),   P ← e^w P + n,   Q ← e^w Q - n y.
/// P and Q are carried times e^{-rho}; every exponent that is formed is at most 0.
template <class T>
struct WayBack {
  Lanes<T> dp = Lanes<T>::Zero(), dq = Lanes<T>::Zero(), dw = Lanes<T>::Zero(),
           du = Lanes<T>::Zero(), rho = Lanes<T>::Constant(T(kNone));

  /// `sums` are p, q, o before the token.
  void step(const Group<T>& g, const T* sums, const Lanes<T>& k, const Lanes<T>& v,
            const Lanes<T>& y, const Lanes<T>& dy, Lanes<T>& dk, Lanes<T>& dv) {
    const Eigen::Map<const Lanes<T>> p(sums), q(sums + kLanes), o(sums + 2 * kLanes);
    const Relative<T> e(o, g.u + k);
    const Lanes<T> n = dy / (e.a * q + e.b);
    const Lanes<T> share = n * e.b * (v - y), later = (k + rho).exp();
    dv = n * e.b + dp * later;
    dk = share + later * (dp * v + dq);
    du += share;
    dw += (g.w + rho + o).exp() * (dp * p + dq * q);
    const Relative<T> next(g.w + rho, -e.m);
    dp = next.a * dp + next.b * n;
    dq = next.a * dq - next.b * n * y;
    rho = next.m;
  }
};

/// `own` holds the scratch of the block's groups.
template <class T>
void block_back(const WkvSize& s, const WkvViews<T>& in, const Matrix<T>& y, const Matrix<T>& dy,
                const WkvGradients<T>& out, Index r, const Block<T>& b, T* own) {
  const Matrix<T> ks = in.k.replica(r), vs = in.v.replica(r);
  const Index first_row = b.example * s.length, stride = group_scratch(s);
  Sums<T> sums[kGroups];
  for (Index t = 0; t < s.length; ++t)
    for (Index g = 0; g < b.count; ++g) {
      T* at = own + g * stride + (2 + 3 * t) * kLanes;
      LanesMap<T>{at} = sums[g].p;
      LanesMap<T>{at + kLanes} = sums[g].q;
      LanesMap<T>{at + 2 * kLanes} = sums[g].o;
      const Group<T>& group = b.group[g];
      sums[g].advance(group.w, group.of(ks, first_row + t), group.of(vs, first_row + t));
    }
  WayBack<T> back[kGroups];
  for (Index t = s.length - 1; t >= 0; --t)
    for (Index g = 0; g < b.count; ++g) {
      const Group<T>& group = b.group[g];
      const Index row = first_row + t;
      Lanes<T> dk, dv;
      back[g].step(group, own + g * stride + (2 + 3 * t) * kLanes, group.of(ks, row),
                   group.of(vs, row), group.of(y, row), group.of(dy, row), dk, dv);
      store<T>(dk, out.k, r, row, group.first, group.width);
      store<T>(dv, out.v, r, row, group.first, group.width);
    }
  for (Index g = 0; g < b.count; ++g) {
    LanesMap<T>{own + g* stride} = back[g].dw;
    LanesMap<T>{own + g* stride + kLanes} = back[g].du;
  }
}

/// dtime_decay = w dw and dtime_first = du: the examples' shares, in order.
template <class T>
void sum_channel_gradients(const WkvSize& s, const WkvViews<T>& in, const T* scratch,
                           const WkvGradients<T>& out, Index r) {
  for (Index index = 0; index < groups(s); ++index) {
    Group<T> group;
    group.load_parameters(s, in, r, index);
    Lanes<T> dw = Lanes<T>::Zero(), du = dw;
    for (Index example = 0; example < s.examples; ++example) {
      const T* own = scratch + (example * groups(s) + index) * group_scratch(s);
      dw += Eigen::Map<const Lanes<T>>(own);
      du += Eigen::Map<const Lanes<T>>(own + kLanes);
    }
    store<T>(dw * group.w, out.time_decay, r, 0, group.first, group.width);
    store<T>(du, out.time_first, r, 0, group.first, group.width);
  }
}

}  // namespace

Index wkv_scratch(const WkvSize& s) {
  return s.examples * groups(s) * group_scratch(s);
}

template <class T>
void wkv_forward_cpu(const WkvSize& s, const WkvViews<T>& in, const Batched<T>& y) {
  for (Index r = 0; r < y.replicas; ++r)
    parallel_for(s.examples * blocks(s), [&](Index index) {
      const Block<T> b(s, in, r, index);
      const Matrix<T> ks = in.k.replica(r), vs = in.v.replica(r);
      const Gradient<T> to{y, true, false};
      Sums<T> sums[kGroups];
      for (Index row = b.example * s.length; row < (b.example + 1) * s.length; ++row)
        for (Index g = 0; g < b.count; ++g) {
          const Group<T>& group = b.group[g];
          const Lanes<T> k = group.of(ks, row), v = group.of(vs, row);
          const Relative<T> e(sums[g].o, group.u + k);
          store<T>((e.a * sums[g].p + e.b * v) / (e.a * sums[g].q + e.b), to, r, row, group.first,
                   group.width);
          sums[g].advance(group.w, k, v);
        }
    });
}

template <class T>
void wkv_backward_cpu(const WkvSize& s, const WkvViews<T>& in, const Batched<T>& y,
                      const Batched<T>& dy, const WkvGradients<T>& out, T* scratch) {
  for (Index r = 0; r < y.replicas; ++r) {
    parallel_for(s.examples * blocks(s), [&](Index index) {
      const Block<T> b(s, in, r, index);
      block_back(s, in, y.replica(r), dy.replica(r), out, r, b,
                 scratch + (b.example * groups(s) + b.first_group) * group_scratch(s));
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
