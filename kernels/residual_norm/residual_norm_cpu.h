#pragma once

#include "kernels/dropout/dropout_mask.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// The mask of a branch's dropout, one for each replica: `seeds` [R].
struct BranchDropout {
  const std::uint64_t* seeds;
  std::uint32_t step, random_id;
  double p;  ///< 0: nothing is dropped

  DropoutMask mask(Index replica) const { return {seeds[replica], step, random_id, p}; }
};

/// residual_norm.h: `bias` is empty for RMSNorm; an empty r counts as zero. `stream` may share
/// memory with h. `saved` [R, rows, 2] receives mean and 1 / sqrt(var + eps) of each row.
template <class T>
void residual_norm_forward_cpu(const BranchDropout& dropout, const Batched<T>& r,
                               const Batched<T>& h, const Batched<T>& weight,
                               const Batched<T>& bias, double eps, const Batched<T>& stream,
                               const Batched<T>& normalised, const Batched<T>& saved);

/// `scratch` holds residual_norm_scratch(R, rows, D) numbers.
template <class T>
void residual_norm_backward_cpu(const BranchDropout& dropout, const Batched<T>& stream,
                                const Batched<T>& weight, const Batched<T>& saved,
                                const Batched<T>& dstream, const Batched<T>& dnormalised,
                                bool centred, const Gradient<T>& dr, const Gradient<T>& dh,
                                const Gradient<T>& dweight, const Gradient<T>& dbias, T* scratch);

Index residual_norm_scratch(Index replicas, Index rows, Index cols);

/// Numbers from replica to replica of a dense [R, rows, D] in working memory.
Index dense_replica_stride(Index rows, Index cols);
/// Such a tensor.
template <class T>
Batched<T> dense_view(T* data, Index replicas, Index rows, Index cols) {
  return {data, replicas, rows, cols, cols, dense_replica_stride(rows, cols)};
}

}  // namespace recallbench
