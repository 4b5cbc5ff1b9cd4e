#include "kernels/skip_gate/skip_gate_cpu.h"

#include <algorithm>

#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

// Rows of a block of work, which has one partial gradient of `skip`.
constexpr Index kRowBlock = 512;

}  // namespace

Index skip_gate_scratch(Index rows, Index cols) {
  return blocks_of(rows, kRowBlock) * cols;
}

template <class T>
void skip_gate_forward_cpu(const SkipGateViews<T>& in, const Batched<T>& out) {
  for (Index r = 0; r < out.replicas; ++r) {
    const T* skip = in.skip.replica(r).data;
    parallel_ranges(out.rows, kRowBlock, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i) {
        const T *y = in.y.replica(r).row(i), *x = in.x.replica(r).row(i);
        const T* gate = in.gate.replica(r).row(i);
        T* to = out.replica(r).row(i);
        for (Index j = 0; j < out.cols; ++j)
          to[j] = (y[j] + skip[j] * x[j]) * gate[j];
      }
    });
  }
}

template <class T>
void skip_gate_backward_cpu(const SkipGateViews<T>& in, const Batched<T>& dout,
                            const SkipGateGradients<T>& gradients, T* scratch) {
  const Index cols = dout.cols;
  for (Index r = 0; r < dout.replicas; ++r) {
    const T* skip = in.skip.replica(r).data;
    const MatrixGradient<T> dy = gradient_of(gradients.y, r), dx = gradient_of(gradients.x, r),
                            dgate = gradient_of(gradients.gate, r);
    parallel_ranges(dout.rows, kRowBlock, [&](Index first, Index count) {
      T* sums = scratch + first / kRowBlock * cols;
      std::fill_n(sums, cols, T(0));
      for (Index i = first; i < first + count; ++i) {
        const T *y = in.y.replica(r).row(i), *x = in.x.replica(r).row(i);
        const T *gate = in.gate.replica(r).row(i), *d = dout.replica(r).row(i);
        for (Index j = 0; j < cols; ++j) {
          const T inner = d[j] * gate[j];
          sums[j] += inner * x[j];
          dy.write(i, j, inner);
          dx.write(i, j, inner * skip[j]);
          dgate.write(i, j, d[j] * (y[j] + skip[j] * x[j]));
        }
      }
    });
    add_shares(scratch, blocks_of(dout.rows, kRowBlock), cols, gradients.skip, r);
  }
}

template void skip_gate_forward_cpu(const SkipGateViews<float>&, const Batched<float>&);
template void skip_gate_backward_cpu(const SkipGateViews<float>&, const Batched<float>&,
                                     const SkipGateGradients<float>&, float*);
template void skip_gate_forward_cpu(const SkipGateViews<double>&, const Batched<double>&);
template void skip_gate_backward_cpu(const SkipGateViews<double>&, const Batched<double>&,
                                     const SkipGateGradients<double>&, double*);

}  // namespace recallbench
