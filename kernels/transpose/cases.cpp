#include "kernels/graph/op_case.h"
#include "kernels/transpose/transpose.h"

namespace recallbench {

void append_transpose_cases(std::vector<OpCase>& cases) {
  for (const auto& [rows, cols] : {std::pair<Index, Index>{4, 7}, {33, 70}}) {
    OpCase c;
    c.name = fmt::format("transpose/{}x{}", rows, cols);
    c.inputs = {{rows, cols}};
    c.build = [](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{transpose(g, t[0])};
    };
    c.reference = [rows = rows, cols = cols](const std::vector<HostTensor>& t, const HostBatch&) {
      HostTensor y{{cols, rows}, {}};
      for (Index j = 0; j < cols; ++j)
        for (Index i = 0; i < rows; ++i)
          y.data.push_back(t[0].data[static_cast<std::size_t>(i * cols + j)]);
      return std::vector<HostTensor>{y};
    };
    cases.push_back(c);
  }
}

}  // namespace recallbench
