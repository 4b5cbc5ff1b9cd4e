#include "kernels/graph/op_case.h"
#include "kernels/transpose/transpose.h"

namespace recallbench {

void append_transpose_cases(std::vector<OpCase>& cases) {
  OpCase c;
  c.name = "transpose/4x7";
  c.inputs = {{4, 7}};
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{transpose(g, t[0])};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y{{7, 4}, {}};
    for (std::size_t j = 0; j < 7; ++j)
      for (std::size_t i = 0; i < 4; ++i)
        y.data.push_back(t[0].data[i * 7 + j]);
    return std::vector<HostTensor>{y};
  };
  cases.push_back(c);
}

}  // namespace recallbench
