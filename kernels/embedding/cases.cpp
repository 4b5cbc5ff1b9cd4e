#include "kernels/embedding/embedding.h"
#include "kernels/graph/op_case.h"

namespace recallbench {
namespace {

HostBatch some_tokens(Index examples, Index length, Index vocab) {
  HostBatch batch{examples, length, 1, {}, {}, {}, {}};
  RandomStream random(5, Purpose::test_values, 1, 1);
  for (Index i = 0; i < examples * length; ++i)  // half of them token 0, as with zero fillers
    batch.tokens.push_back(random.below(2) == 0 ? 0
                                                : static_cast<std::int32_t>(random.below(
                                                      static_cast<std::uint32_t>(vocab))));
  batch.positions.assign(static_cast<std::size_t>(examples), 0);
  batch.targets = batch.positions;
  batch.weights.assign(static_cast<std::size_t>(examples), 1.0f);
  return batch;
}

std::vector<HostTensor> embedding_reference(const HostTensor& table, const HostBatch& batch) {
  const Index cols = table.shape[1];
  HostTensor y{{batch.examples, batch.length, cols}, {}};
  for (const std::int32_t token : batch.tokens)
    for (Index j = 0; j < cols; ++j)
      y.data.push_back(table.data[static_cast<std::size_t>(token * cols + j)]);
  return {y};
}

}  // namespace

void append_embedding_cases(std::vector<OpCase>& cases) {
  for (const auto& [examples, length, vocab, cols, timed] :
       {std::tuple<Index, Index, Index, Index, bool>{2, 9, 11, 5, false},
        {3, 17, 20, 70, false},
        {64, 256, 8192, 64, true}}) {
    OpCase c;
    c.name = fmt::format("embedding/B={},L={},V={},D={}", examples, length, vocab, cols);
    c.inputs = {{vocab, cols}};
    c.batch = some_tokens(examples, length, vocab);
    c.build = [b = examples, l = length](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{embedding(g, t[0], b, l)};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch& batch) {
      return embedding_reference(t[0], batch);
    };
    c.tested = !timed;
    c.flops = timed ? static_cast<double>(examples * length * cols) : 0;
    cases.push_back(c);
  }
  OpCase c;
  c.name = "add_positions/B=2,L=3,P=5,D=4";
  c.inputs = {{2, 3, 4}, {5, 4}};
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{add_positions(g, t[0], t[1])};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y = t[0];
    for (std::size_t i = 0; i < y.data.size(); ++i)
      y.data[i] += t[1].data[i % 12];
    return std::vector<HostTensor>{y};
  };
  cases.push_back(c);
}

}  // namespace recallbench
