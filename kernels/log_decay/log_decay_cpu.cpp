#include "kernels/log_decay/log_decay_cpu.h"

#include <cmath>

#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 4096;

}  // namespace

Index log_decay_scratch(Index rows, Index heads) {
  return blocks_of(rows, kRowBlock) * heads;
}

template <class T>
void log_decay_forward_cpu(const Batched<T>& dt, const Batched<T>& a_log, const Batched<T>& g) {
  for (Index r = 0; r < dt.replicas; ++r) {
    const T* logs = a_log.replica(r).data;
    parallel_ranges(dt.rows, kRowBlock, [&](Index first, Index count) {
      for (Index h = 0; h < dt.cols; ++h) {
        const T rate = -std::exp(logs[h]);
        for (Index i = first; i < first + count; ++i)
          g.replica(r).row(i)[h] = rate * dt.replica(r).row(i)[h];
      }
    });
  }
}

/// ddt = -exp(a_log) dg; da_log = Σ dg ⊙ g, for g is its own derivative by a_log.
template <class T>
void log_decay_backward_cpu(const Batched<T>& a_log, const Batched<T>& g, const Batched<T>& dg,
                            const Gradient<T>& ddt, const Gradient<T>& da_log, T* scratch) {
  const Index heads = g.cols;
  for (Index r = 0; r < g.replicas; ++r) {
    const T* logs = a_log.replica(r).data;
    const MatrixGradient<T> to = gradient_of(ddt, r);
    parallel_ranges(g.rows, kRowBlock, [&](Index first, Index count) {
      T* sums = scratch + first / kRowBlock * heads;
      for (Index h = 0; h < heads; ++h) {
        const T rate = -std::exp(logs[h]);
        T sum = 0;
        for (Index i = first; i < first + count; ++i) {
          const T gradient = dg.replica(r).row(i)[h];
          sum += gradient * g.replica(r).row(i)[h];
          to.write(i, h, rate * gradient);
        }
        sums[h] = sum;
      }
    });
    add_shares(scratch, blocks_of(g.rows, kRowBlock), heads, da_log, r);
  }
}

#define INSTANTIATE(T)                                                                          \
  template void log_decay_forward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&); \
  template void log_decay_backward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&, \
                                       const Gradient<T>&, const Gradient<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
