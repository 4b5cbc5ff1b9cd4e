#include "kernels/embedding/embedding_cpu.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Columns that one thread sums: a gradient entry belongs to one block, so its order is fixed.
constexpr Index kColumnBlock = 32;

}  // namespace

template <class T>
void embedding_cpu(const std::int32_t* tokens, const Batched<T>& table, const Batched<T>& y) {
  for (Index r = 0; r < y.replicas; ++r) {
    const Matrix<T> from = table.replica(r), to = y.replica(r);
    const std::int32_t* own = tokens + r * y.rows;
    parallel_ranges(y.rows, 4096, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i)
        std::copy_n(from.row(own[i]), to.cols, to.row(i));
    });
  }
}

template <class T>
void embedding_backward_cpu(const std::int32_t* tokens, const Batched<T>& dy,
                            const Gradient<T>& dtable) {
  if (!dtable.wanted) return;
  for (Index r = 0; r < dy.replicas; ++r) {
    const Matrix<T> to = dtable.view.replica(r), from = dy.replica(r);
    const std::int32_t* own = tokens + r * dy.rows;
    parallel_ranges(from.cols, kColumnBlock, [&](Index first, Index count) {
      if (!dtable.accumulate)
        for (Index v = 0; v < to.rows; ++v)
          std::fill_n(to.row(v) + first, count, T(0));
      for (Index i = 0; i < from.rows; ++i) {
        T* row = to.row(own[i]) + first;
        const T* added = from.row(i) + first;
        for (Index j = 0; j < count; ++j)
          row[j] += added[j];
      }
    });
  }
}

void check_tokens(const char* who, const Batch& batch, Index rows) {
  check(batch.examples * batch.length == rows, who, "recorded for {} tokens, the batch has {} x {}",
        rows, batch.examples, batch.length);
}

#define INSTANTIATE(T)                                                                    \
  template void embedding_cpu(const std::int32_t*, const Batched<T>&, const Batched<T>&); \
  template void embedding_backward_cpu(const std::int32_t*, const Batched<T>&, const Gradient<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
