// A group of columns is a layer norm of its own, with its own piece of weight and bias: the norm's
// kernels, a launch a group.
#include "kernels/group_norm/group_norm_cuda.h"

#include "kernels/norm/norm_cuda.h"

namespace recallbench {
namespace {

/// Columns of one of `groups` equal parts.
Batched<float> part(Batched<float> m, Index groups, Index group) {
  m.cols /= groups;
  m.data += group * m.cols;
  return m;
}

Gradient<float> part(Gradient<float> gradient, Index groups, Index group) {
  if (gradient.wanted) gradient.view = part(gradient.view, groups, group);
  return gradient;
}

}  // namespace

void group_norm_forward_cuda(const CudaCall& call, Index groups, double eps,
                             const Batched<float>& x, const Batched<float>& weight,
                             const Batched<float>& bias, const Batched<float>& y,
                             const Batched<float>& saved) {
  for (Index g = 0; g < groups; ++g)
    norm_forward_cuda(call, part(x, groups, g), part(weight, groups, g), part(bias, groups, g), eps,
                      part(y, groups, g), part(saved, groups, g));
}

void group_norm_backward_cuda(const CudaCall& call, Index groups, const Batched<float>& x,
                              const Batched<float>& weight, const Batched<float>& saved,
                              const Batched<float>& dy, const Gradient<float>& dx,
                              const Gradient<float>& dweight, const Gradient<float>& dbias,
                              float* scratch) {
  for (Index g = 0; g < groups; ++g)
    norm_backward_cuda(call, part(x, groups, g), part(weight, groups, g), part(saved, groups, g),
                       part(dy, groups, g), true, part(dx, groups, g), part(dweight, groups, g),
                       part(dbias, groups, g), scratch);
}

Index group_norm_cuda_scratch(Index replicas, Index rows, Index cols, Index groups) {
  return norm_cuda_scratch(replicas, rows, cols / groups);
}

}  // namespace recallbench
