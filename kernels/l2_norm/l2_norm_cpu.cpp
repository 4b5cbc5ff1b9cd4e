#include "kernels/l2_norm/l2_norm_cpu.h"

#include <cmath>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 1024;

template <class T>
T inverse_length(const LengthNormPlan& plan, const T* x, Index n) {
  T sum = 0;
  if (plan.by_sum) {
#pragma omp simd reduction(+ : sum)
    for (Index j = 0; j < n; ++j)
      sum += x[j];
    return T(1) / sum;
  }
#pragma omp simd reduction(+ : sum)
  for (Index j = 0; j < n; ++j)
    sum += x[j] * x[j];
  return T(1) / std::sqrt(sum + static_cast<T>(plan.eps));
}

/// With n the length and n' its gradient, y for the Euclidean one and 1 for the sum:
/// dx = (dy - n' <dy, y>) / n.
template <class T>
void backward_head(bool by_sum, const T* y, T inverse, const T* dy, Index n, bool accumulate,
                   T* dx) {
  T dot = 0;
#pragma omp simd reduction(+ : dot)
  for (Index j = 0; j < n; ++j)
    dot += dy[j] * y[j];
  for (Index j = 0; j < n; ++j) {
    const T value = inverse * (dy[j] - (by_sum ? dot : y[j] * dot));
    dx[j] = accumulate ? dx[j] + value : value;
  }
}

}  // namespace

template <class T>
void length_norm_forward_cpu(const LengthNormPlan& plan, const Batched<T>& x, const Batched<T>& y,
                             const Batched<T>& inverse) {
  const Index width = x.cols / plan.heads;
  for (Index r = 0; r < x.replicas; ++r) {
    parallel_ranges(x.rows, kRowBlock, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i) {
        for (Index h = 0; h < plan.heads; ++h) {
          const T* from = x.replica(r).row(i) + h * width;
          T* to = y.replica(r).row(i) + h * width;
          const T factor = inverse_length(plan, from, width);
          inverse.replica(r).row(i)[h] = factor;
          for (Index j = 0; j < width; ++j)
            to[j] = from[j] * factor;
        }
      }
    });
  }
}

template <class T>
void length_norm_backward_cpu(const LengthNormPlan& plan, const Batched<T>& y,
                              const Batched<T>& inverse, const Batched<T>& dy,
                              const Gradient<T>& dx) {
  if (!dx.wanted) return;
  const Index width = y.cols / plan.heads;
  for (Index r = 0; r < y.replicas; ++r) {
    parallel_ranges(y.rows, kRowBlock, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i)
        for (Index h = 0; h < plan.heads; ++h)
          backward_head(plan.by_sum, y.replica(r).row(i) + h * width, inverse.replica(r).row(i)[h],
                        dy.replica(r).row(i) + h * width, width, dx.accumulate,
                        dx.view.replica(r).row(i) + h * width);
    });
  }
}

#define INSTANTIATE(T)                                                             \
  template void length_norm_forward_cpu(const LengthNormPlan&, const Batched<T>&,  \
                                        const Batched<T>&, const Batched<T>&);     \
  template void length_norm_backward_cpu(const LengthNormPlan&, const Batched<T>&, \
                                         const Batched<T>&, const Batched<T>&,     \
                                         const Gradient<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
