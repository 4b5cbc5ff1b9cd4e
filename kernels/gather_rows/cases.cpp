#include "kernels/gather_rows/gather_rows.h"
#include "kernels/graph/op_case.h"

namespace recallbench {
namespace {

std::vector<HostTensor> gather_rows_reference(const HostTensor& x, const HostBatch& batch) {
  const Index cols = x.shape[2];
  HostTensor y{{batch.examples, batch.labels, cols}, {}};
  for (Index b = 0; b < batch.examples; ++b)
    for (Index i = 0; i < batch.labels; ++i)
      for (Index j = 0; j < cols; ++j) {
        const Index t = batch.positions[static_cast<std::size_t>(b * batch.labels + i)];
        y.data.push_back(x.data[static_cast<std::size_t>((b * batch.length + t) * cols + j)]);
      }
  return {y};
}

}  // namespace

void append_gather_rows_cases(std::vector<OpCase>& cases) {
  OpCase c;
  c.name = "gather_rows/B=2,L=5,n=3,D=4";
  c.inputs = {{2, 5, 4}};
  c.batch = {2,
             5,
             3,
             std::vector<std::int32_t>(10, 0),
             {4, 1, 1, 0, 2, 3},
             std::vector<std::int32_t>(6, 0),
             std::vector<float>(6, 1.0f)};
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{gather_rows(g, t[0], 3)};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch& batch) {
    return gather_rows_reference(t[0], batch);
  };
  cases.push_back(c);
}

}  // namespace recallbench
