#include "kernels/residual_norm/residual_norm_cpu.h"

#include "kernels/dropout/dropout_cpu.h"
#include "kernels/elementwise/elementwise_cpu.h"
#include "kernels/norm/norm_cpu.h"
#include "kernels/tensor/arena.h"

namespace recallbench {

Index dense_replica_stride(Index rows, Index cols) {
  return static_cast<Index>(align_up(static_cast<std::size_t>(rows * cols)));
}

Index residual_norm_scratch(Index replicas, Index rows, Index cols) {
  return replicas * dense_replica_stride(rows, cols) + norm_scratch(rows, cols);
}

template <class T>
void residual_norm_forward_cpu(const BranchDropout& dropout, const Batched<T>& r,
                               const Batched<T>& h, const Batched<T>& weight,
                               const Batched<T>& bias, double eps, const Batched<T>& stream,
                               const Batched<T>& normalised, const Batched<T>& saved) {
  Batched<T> branch = h;
  if (dropout.p > 0) {
    for (Index i = 0; i < h.replicas; ++i)
      dropout_cpu(dropout.mask(i), h.replica(i), stream.replica(i), false);
    branch = stream;
  }
  if (r.data != nullptr)
    add_cpu(r, branch, stream);
  else if (branch.data != stream.data)
    copy_cpu(branch, {stream, true, false});
  norm_forward_cpu(stream, weight, bias, eps, normalised, saved);
}

template <class T>
void residual_norm_backward_cpu(const BranchDropout& dropout, const Batched<T>& stream,
                                const Batched<T>& weight, const Batched<T>& saved,
                                const Batched<T>& dstream, const Batched<T>& dnormalised,
                                bool centred, const Gradient<T>& dr, const Gradient<T>& dh,
                                const Gradient<T>& dweight, const Gradient<T>& dbias, T* scratch) {
  // The gradient of the stream, from both its uses.
  const Batched<T> sum = dense_view(scratch, stream.replicas, stream.rows, stream.cols);
  copy_cpu(dstream, {sum, true, false});
  norm_backward_cpu(stream, weight, saved, dnormalised, centred, {sum, true, true}, dweight, dbias,
                    scratch + sum.replicas * sum.replica_stride);
  copy_cpu(sum, dr);
  if (dropout.p == 0) return copy_cpu(sum, dh);
  for (Index i = 0; dh.wanted && i < sum.replicas; ++i)
    dropout_cpu(dropout.mask(i), sum.replica(i), dh.view.replica(i), dh.accumulate);
}

#define INSTANTIATE(T)                                                                     \
  template void residual_norm_forward_cpu(                                                 \
      const BranchDropout&, const Batched<T>&, const Batched<T>&, const Batched<T>&,       \
      const Batched<T>&, double, const Batched<T>&, const Batched<T>&, const Batched<T>&); \
  template void residual_norm_backward_cpu(                                                \
      const BranchDropout&, const Batched<T>&, const Batched<T>&, const Batched<T>&,       \
      const Batched<T>&, const Batched<T>&, bool, const Gradient<T>&, const Gradient<T>&,  \
      const Gradient<T>&, const Gradient<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
