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

/// Random positions; the last label of each example is position 0, as padding has it.
HostBatch some_positions(Index examples, Index length, Index labels) {
  HostBatch batch{examples, length, labels, {}, {}, {}, {}};
  RandomStream random(6, Purpose::test_values, 1, 1);
  for (Index i = 0; i < examples * labels; ++i)
    batch.positions.push_back((i + 1) % labels == 0 ? 0
                                                    : static_cast<std::int32_t>(random.below(
                                                          static_cast<std::uint32_t>(length))));
  batch.tokens.assign(static_cast<std::size_t>(examples * length), 0);
  batch.targets.assign(batch.positions.size(), 0);
  batch.weights.assign(batch.positions.size(), 1.0f);
  return batch;
}

}  // namespace

void append_gather_rows_cases(std::vector<OpCase>& cases) {
  for (const auto& [examples, length, labels, cols] :
       {std::tuple<Index, Index, Index, Index>{2, 5, 3, 4}, {3, 9, 40, 7}, {2, 33, 4, 136}}) {
    OpCase c;
    c.name = fmt::format("gather_rows/B={},L={},n={},D={}", examples, length, labels, cols);
    c.inputs = {{examples, length, cols}};
    c.batch = some_positions(examples, length, labels);
    c.build = [labels = labels](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{gather_rows(g, t[0], labels)};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch& batch) {
      return gather_rows_reference(t[0], batch);
    };
    cases.push_back(c);
  }
}

}  // namespace recallbench
