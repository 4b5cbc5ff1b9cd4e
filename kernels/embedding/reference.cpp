#include "kernels/embedding/reference.h"

#include "kernels/base/philox.h"

namespace recallbench {

HostBatch some_tokens(Index examples, Index length, Index vocab) {
  HostBatch batch{examples, length, 1, {}, {}, {}, {}};
  RandomStream random(5, Purpose::test_values, 1, 1);
  for (Index i = 0; i < examples * length; ++i)
    batch.tokens.push_back(random.below(2) == 0 ? 0
                                                : static_cast<std::int32_t>(random.below(
                                                      static_cast<std::uint32_t>(vocab))));
  batch.positions.assign(static_cast<std::size_t>(examples), 0);
  batch.targets = batch.positions;
  batch.weights.assign(static_cast<std::size_t>(examples), 1.0f);
  return batch;
}

HostTensor embedding_reference(const HostTensor& table, const HostBatch& batch) {
  const Index cols = table.shape[1];
  HostTensor y{{batch.examples, batch.length, cols}, {}};
  for (const std::int32_t token : batch.tokens)
    for (Index j = 0; j < cols; ++j)
      y.data.push_back(table.data[static_cast<std::size_t>(token * cols + j)]);
  return y;
}

}  // namespace recallbench
