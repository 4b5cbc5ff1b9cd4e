#include "kernels/matmul/reference.h"

namespace recallbench {

std::vector<HostTensor> linear_reference(const std::vector<HostTensor>& inputs) {
  const HostTensor &x = inputs[0], &weight = inputs[1];
  const Index in = x.shape.back(), out = weight.shape[0], rows = x.size() / in;
  HostTensor y{x.shape, {}};
  y.shape.back() = out;
  for (Index i = 0; i < rows; ++i) {
    for (Index o = 0; o < out; ++o) {
      double sum = inputs.size() > 2 ? inputs[2].data[static_cast<std::size_t>(o)] : 0;
      for (Index j = 0; j < in; ++j)
        sum += x.data[static_cast<std::size_t>(i * in + j)] *
               weight.data[static_cast<std::size_t>(o * in + j)];
      y.data.push_back(sum);
    }
  }
  return {y};
}

}  // namespace recallbench
