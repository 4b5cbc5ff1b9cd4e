#include "kernels/sigmoid_decay/sigmoid_decay_cpu.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Numbers that one block takes; rows are never cut.
constexpr Index kBlock = 1 << 15;
// Numbers of a row that are worked on at once, on the stack.
constexpr Index kSpan = 256;

template <class T>
using Array = Eigen::Array<T, Eigen::Dynamic, 1, Eigen::ColMajor, kSpan, 1>;
template <class T>
using Row = Eigen::Map<Array<T>>;

/// At most kSpan numbers of one row.
struct Span {
  Index replica, row, first, count;

  template <class T>
  Row<T> of(const Batched<T>& x) const {
    return {x.replica(replica).row(row) + first, count};
  }
};

/// body(span) for all numbers of all replicas.
template <class T, class Body>
void for_spans(const Batched<T>& shape, const Body& body) {
  const Index grain = std::max<Index>(1, kBlock / std::max<Index>(1, shape.cols));
  for (Index r = 0; r < shape.replicas; ++r)
    parallel_ranges(shape.rows, grain, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i)
        for (Index at = 0; at < shape.cols; at += kSpan)
          body(Span{r, i, at, std::min(kSpan, shape.cols - at)});
    });
}

/// ln(λ + (1 - λ) σ(x)); for λ = 0 in the form that stays finite.
template <class T>
Array<T> log_gate(const Row<T>& x, T lower_bound) {
  if (lower_bound == T(0)) return x.min(T(0)) - (-x.abs()).exp().log1p();
  return (lower_bound + (1 - lower_bound) / (T(1) + (-x).exp())).log();
}

template <class T>
void add_or_set(const Array<T>& value, const Gradient<T>& to, const Span& span) {
  Row<T> at = span.of(to.view);
  if (to.accumulate)
    at += value;
  else
    at = value;
}

}  // namespace

template <class T>
void sigmoid_decay_cpu(const SigmoidDecayOptions& options, const Batched<T>& x,
                       const Batched<T>& g) {
  const T factor = T(1 / options.divisor), least = T(options.clamp_min);
  for_spans(g, [&](const Span& span) {
    const Array<T> gate = factor * log_gate<T>(span.of(x), T(options.lower_bound));
    // A NaN compares false and passes.
    span.of(g) = (gate < least).select(least, gate);
  });
}

/// dg/dx = (1 - λ) σ (1 - σ) / (λ + (1 - λ) σ) / divisor, with λ = 0: (1 - σ) / divisor.
template <class T>
void sigmoid_decay_backward_cpu(const SigmoidDecayOptions& options, const Batched<T>& x,
                                const Batched<T>& dg, const Gradient<T>& dx) {
  if (!dx.wanted) return;
  const T bound = T(options.lower_bound), factor = T(1 / options.divisor);
  for_spans(dg, [&](const Span& span) {
    const Row<T> at = span.of(x);
    Array<T> slope = factor / (T(1) + at.exp());
    if (bound != T(0)) {
      const Array<T> open = (1 - bound) / (T(1) + (-at).exp());
      slope *= open / (bound + open);
    }
    const Array<T> gate = factor * log_gate<T>(at, bound);
    slope = (gate < T(options.clamp_min)).select(T(0), slope);
    add_or_set<T>(slope * span.of(dg), dx, span);
  });
}

template <class T>
void bounded_decay_cpu(double bound, const Batched<T>& x, const Batched<T>& g) {
  for_spans(g, [&](const Span& span) { span.of(g) = T(-bound) / (T(1) + (-span.of(x)).exp()); });
}

template <class T>
void bounded_decay_backward_cpu(double bound, const Batched<T>& x, const Batched<T>& dg,
                                const Gradient<T>& dx) {
  if (!dx.wanted) return;
  for_spans(dg, [&](const Span& span) {
    const Array<T> open = (T(1) + (-span.of(x)).exp()).inverse();
    add_or_set<T>(T(-bound) * open * (T(1) - open) * span.of(dg), dx, span);
  });
}

template <class T>
void decay_complement_cpu(const Batched<T>& g, const Batched<T>& y) {
  for_spans(y, [&](const Span& span) { span.of(y) = -span.of(g).expm1(); });
}

template <class T>
void decay_complement_backward_cpu(const Batched<T>& g, const Batched<T>& dy,
                                   const Gradient<T>& dg) {
  if (!dg.wanted) return;
  for_spans(dy,
            [&](const Span& span) { add_or_set<T>(-span.of(g).exp() * span.of(dy), dg, span); });
}

#define INSTANTIATE(T)                                                                    \
  template void sigmoid_decay_cpu(const SigmoidDecayOptions&, const Batched<T>&,          \
                                  const Batched<T>&);                                     \
  template void sigmoid_decay_backward_cpu(const SigmoidDecayOptions&, const Batched<T>&, \
                                           const Batched<T>&, const Gradient<T>&);        \
  template void bounded_decay_cpu(double, const Batched<T>&, const Batched<T>&);          \
  template void bounded_decay_backward_cpu(double, const Batched<T>&, const Batched<T>&,  \
                                           const Gradient<T>&);                           \
  template void decay_complement_cpu(const Batched<T>&, const Batched<T>&);               \
  template void decay_complement_backward_cpu(const Batched<T>&, const Batched<T>&,       \
                                              const Gradient<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
