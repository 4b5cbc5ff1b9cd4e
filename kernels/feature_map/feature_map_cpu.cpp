#include "kernels/feature_map/feature_map_cpu.h"

#include <Eigen/Core>
#include <cmath>
#include <numbers>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

constexpr double kFloor = 1e-12;
constexpr Index kRowBlock = 128;

template <class T>
using Row = Eigen::Map<Eigen::Array<T, 1, Eigen::Dynamic>>;

template <class T>
Row<T> row(const Matrix<T>& m, Index i) {
  return Row<T>(m.row(i), m.cols);
}

/// body(replica, row) for every row of `like`.
template <class T, class Body>
void for_rows(const Batched<T>& like, const Body& body) {
  for (Index r = 0; r < like.replicas; ++r)
    parallel_ranges(like.rows, kRowBlock, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i)
        body(r, i);
    });
}

template <class To, class From>
void put(bool add, To&& to, const From& from) {
  if (add)
    to += from;
  else
    to = from;
}

}  // namespace

template <class T>
void elementwise_features_cpu(ElementwiseMap map, T temperature, const Batched<T>& x,
                              const Batched<T>& y) {
  for_rows(x, [&](Index r, Index i) {
    const auto z = row(x.replica(r), i) * temperature;
    auto to = row(y.replica(r), i);
    if (map == ElementwiseMap::relu)
      to = z.max(T(kFloor));
    else if (map == ElementwiseMap::pos_elu)
      to = z.max(T(0)) + z.min(T(0)).exp();
    else
      to = z.square();
  });
}

template <class T>
void elementwise_features_backward_cpu(ElementwiseMap map, T temperature, const Batched<T>& x,
                                       const Batched<T>& dy, const Gradient<T>& dx) {
  for_rows(x, [&](Index r, Index i) {
    const auto z = row(x.replica(r), i) * temperature;
    const auto d = row(dy.replica(r), i) * temperature;
    auto to = row(dx.view.replica(r), i);
    if (map == ElementwiseMap::relu)
      put(dx.accumulate, to, (z >= T(kFloor)).select(d, T(0)));
    else if (map == ElementwiseMap::pos_elu)
      put(dx.accumulate, to, d * z.min(T(0)).exp());
    else
      put(dx.accumulate, to, d * z * T(2));
  });
}

namespace {

template <class T>
struct Turn {
  T sine, cosine;
};

template <class T>
Turn<T> turn(const CosformerOptions& options, Index position) {
  double angle = std::numbers::pi / 2 * static_cast<double>(position + 1);
  if (options.rounds_angles) angle = static_cast<float>(angle);
  angle /= static_cast<double>(options.horizon);
  return {static_cast<T>(std::sin(angle)), static_cast<T>(std::cos(angle))};
}

}  // namespace

template <class T>
void cosformer_features_cpu(const CosformerOptions& options, const RowPositions& positions,
                            const Batched<T>& x, const Batched<T>& y) {
  const Index f = x.cols / options.heads;
  for_rows(x, [&](Index r, Index i) {
    const Turn<T> by = turn<T>(options, positions.of(r, i));
    for (Index h = 0; h < options.heads; ++h) {
      const T* from = x.replica(r).row(i) + h * f;
      T* to = y.replica(r).row(i) + 2 * h * f;
      for (Index c = 0; c < f; ++c) {
        const T positive = from[c] > 0 ? from[c] : T(0);
        to[c] = positive * by.sine;
        to[f + c] = positive * by.cosine;
      }
    }
  });
}

template <class T>
void cosformer_features_backward_cpu(const CosformerOptions& options, const RowPositions& positions,
                                     const Batched<T>& x, const Batched<T>& dy,
                                     const Gradient<T>& dx) {
  const Index f = x.cols / options.heads;
  for_rows(x, [&](Index r, Index i) {
    const Turn<T> by = turn<T>(options, positions.of(r, i));
    for (Index h = 0; h < options.heads; ++h) {
      const T* from = x.replica(r).row(i) + h * f;
      const T* d = dy.replica(r).row(i) + 2 * h * f;
      T* to = dx.view.replica(r).row(i) + h * f;
      for (Index c = 0; c < f; ++c) {
        const T slope = from[c] > 0 ? d[c] * by.sine + d[f + c] * by.cosine : T(0);
        to[c] = dx.accumulate ? to[c] + slope : slope;
      }
    }
  });
}

template <class T>
void exponential_features_cpu(bool less_maximum, const Batched<T>& x, const Batched<T>& p,
                              const Batched<T>& y) {
  const T a = static_cast<T>(std::pow(static_cast<double>(x.cols), -0.25));
  const T factor = static_cast<T>(1 / std::sqrt(static_cast<double>(p.cols)));
  for_rows(x, [&](Index r, Index i) {
    const auto from = row(p.replica(r), i);
    const T shift =
        less_maximum ? a * from.maxCoeff() : a * a / 2 * row(x.replica(r), i).square().sum();
    row(y.replica(r), i) = (from * a - shift).exp() * factor;
  });
}

/// With e = dy ⊙ y: dp = a e and dx = -a² (Σ e) x; less the maximum: dp = a (e - Σ e at the
/// largest), dx = 0.
template <class T>
void exponential_features_backward_cpu(bool less_maximum, const Batched<T>& x, const Batched<T>& p,
                                       const Batched<T>& y, const Batched<T>& dy,
                                       const Gradient<T>& dx, const Gradient<T>& dp) {
  const T a = static_cast<T>(std::pow(static_cast<double>(x.cols), -0.25));
  for_rows(x, [&](Index r, Index i) {
    const auto e = row(y.replica(r), i) * row(dy.replica(r), i);
    const T sum = e.sum();
    if (dp.wanted) {
      auto to = row(dp.view.replica(r), i);
      put(dp.accumulate, to, e * a);
      Index largest = 0;
      if (less_maximum) {
        row(p.replica(r), i).maxCoeff(&largest);
        to[largest] -= a * sum;
      }
    }
    if (dx.wanted)
      put(dx.accumulate, row(dx.view.replica(r), i),
          row(x.replica(r), i) * (less_maximum ? T(0) : -a * a * sum));
  });
}

template <class T>
void polynomial_features_cpu(const Batched<T>& a, const Batched<T>& b, const Batched<T>& y) {
  for_rows(a, [&](Index r, Index i) {
    row(y.replica(r), i) =
        (row(a.replica(r), i).square() + row(b.replica(r), i)) * T(std::numbers::sqrt2 / 2);
  });
}

template <class T>
void polynomial_features_backward_cpu(const Batched<T>& a, const Batched<T>& dy,
                                      const Gradient<T>& da, const Gradient<T>& db) {
  for_rows(a, [&](Index r, Index i) {
    const auto d = row(dy.replica(r), i);
    if (da.wanted)
      put(da.accumulate, row(da.view.replica(r), i),
          row(a.replica(r), i) * d * T(std::numbers::sqrt2));
    if (db.wanted) put(db.accumulate, row(db.view.replica(r), i), d * T(std::numbers::sqrt2 / 2));
  });
}

template <class T>
void softmax_features_cpu(T scale, bool jointly, const Batched<T>& x, const Batched<T>& y) {
  for_rows(x, [&](Index r, Index i) {
    const auto z = row(x.replica(r), i) * scale;
    auto to = row(y.replica(r), i);
    auto plus = to.head(x.cols), minus = to.tail(x.cols);
    const T top = z.maxCoeff(), bottom = z.minCoeff();
    const T largest = top > -bottom ? top : -bottom;
    plus = (z - (jointly ? largest : top)).exp();
    minus = ((jointly ? -largest : bottom) - z).exp();
    if (jointly) {
      to *= 1 / to.sum();
    } else {
      plus = (plus * (1 / plus.sum())).max(T(kFloor));
      minus = (minus * (1 / minus.sum())).max(T(kFloor));
    }
  });
}

/// A softmax s has dz = s ⊙ (ds - <s, ds>). Numbers at the floor have ds = 0.
template <class T>
void softmax_features_backward_cpu(T scale, bool jointly, const Batched<T>& y, const Batched<T>& dy,
                                   const Gradient<T>& dx) {
  const T floor = jointly ? T(-1) : T(kFloor);
  const Index f = y.cols / 2;
  for_rows(y, [&](Index r, Index i) {
    const auto s = row(y.replica(r), i);
    const auto e = (s > floor).select(s * row(dy.replica(r), i), T(0));
    const T plus = jointly ? e.sum() : e.head(f).sum(), minus = jointly ? plus : e.tail(f).sum();
    put(dx.accumulate, row(dx.view.replica(r), i),
        ((e.head(f) - s.head(f) * plus) - (e.tail(f) - s.tail(f) * minus)) * scale);
  });
}

#define RECALLBENCH_FEATURE_MAPS(T)                                                                \
  template void elementwise_features_cpu(ElementwiseMap, T, const Batched<T>&, const Batched<T>&); \
  template void elementwise_features_backward_cpu(ElementwiseMap, T, const Batched<T>&,            \
                                                  const Batched<T>&, const Gradient<T>&);          \
  template void cosformer_features_cpu(const CosformerOptions&, const RowPositions&,               \
                                       const Batched<T>&, const Batched<T>&);                      \
  template void cosformer_features_backward_cpu(const CosformerOptions&, const RowPositions&,      \
                                                const Batched<T>&, const Batched<T>&,              \
                                                const Gradient<T>&);                               \
  template void exponential_features_cpu(bool, const Batched<T>&, const Batched<T>&,               \
                                         const Batched<T>&);                                       \
  template void exponential_features_backward_cpu(bool, const Batched<T>&, const Batched<T>&,      \
                                                  const Batched<T>&, const Batched<T>&,            \
                                                  const Gradient<T>&, const Gradient<T>&);         \
  template void polynomial_features_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&);  \
  template void polynomial_features_backward_cpu(const Batched<T>&, const Batched<T>&,             \
                                                 const Gradient<T>&, const Gradient<T>&);          \
  template void softmax_features_cpu(T, bool, const Batched<T>&, const Batched<T>&);               \
  template void softmax_features_backward_cpu(T, bool, const Batched<T>&, const Batched<T>&,       \
                                              const Gradient<T>&);
RECALLBENCH_FEATURE_MAPS(float)
RECALLBENCH_FEATURE_MAPS(double)
#undef RECALLBENCH_FEATURE_MAPS

}  // namespace recallbench
