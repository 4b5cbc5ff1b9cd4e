#include "kernels/graph/tensor.h"

namespace recallbench {

Tensor Tensor::columns(Index first, Index count) const {
  check(first >= 0 && count >= 1 && first + count <= cols(), "Tensor::columns",
        "expected columns within {}, got [{}, {})", shape.text(), first, first + count);
  return {shape.with_cols(count), value, offset + first, stride};
}

Tensor Tensor::row_range(Index first, Index count) const {
  check(shape.rank() == 3 && first >= 0 && count >= 1 && first + count <= rows(),
        "Tensor::row_range", "expected rows within [R, rows, cols] {}, got [{}, {})", shape.text(),
        first, first + count);
  return {Shape{shape[0], count, cols()}, value, offset + first * stride, stride};
}

Tensor Tensor::reshaped(const Shape& to) const {
  check(to.replicas() == shape.replicas() && to.per_replica() == shape.per_replica(),
        "Tensor::reshaped", "expected as many numbers a replica as {}, got {}", shape.text(),
        to.text());
  check(to.cols() == cols() || stride == cols(), "Tensor::reshaped",
        "the rows of {} do not lie side by side, so its columns cannot become those of {}",
        shape.text(), to.text());
  return {to, value, offset, to.cols() == cols() ? stride : to.cols()};
}

}  // namespace recallbench
