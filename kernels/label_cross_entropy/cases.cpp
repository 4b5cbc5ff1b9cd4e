#include <cmath>

#include "kernels/graph/op_case.h"
#include "kernels/label_cross_entropy/label_cross_entropy.h"

namespace recallbench {
namespace {

HostBatch some_labels(Index examples, Index labels, Index vocab) {
  HostBatch batch{examples, labels, labels, {}, {}, {}, {}};
  RandomStream random(6, Purpose::test_values, 2, 2);
  for (Index i = 0; i < examples * labels; ++i) {
    batch.tokens.push_back(0);
    batch.positions.push_back(static_cast<std::int32_t>(i % labels));
    batch.targets.push_back(
        static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(vocab))));
    batch.weights.push_back(i % 5 == 4 ? 0.0f : 1.0f);  // some padding
  }
  return batch;
}

std::vector<HostTensor> label_cross_entropy_reference(const HostTensor& h, const HostTensor& table,
                                                      const HostBatch& batch) {
  const Index dim = table.shape[1], vocab = table.shape[0], rows = h.size() / dim;
  double loss = 0, total = 0;
  for (Index i = 0; i < rows; ++i) {
    std::vector<double> logits(static_cast<std::size_t>(vocab), 0.0);
    double sum = 0;
    for (Index v = 0; v < vocab; ++v) {
      double& logit = logits[static_cast<std::size_t>(v)];
      for (Index j = 0; j < dim; ++j)
        logit += h.data[static_cast<std::size_t>(i * dim + j)] *
                 table.data[static_cast<std::size_t>(v * dim + j)];
      sum += std::exp(logit);
    }
    const auto row = static_cast<std::size_t>(i);
    const double weight = batch.weights[row];
    loss += weight * (std::log(sum) - logits[static_cast<std::size_t>(batch.targets[row])]);
    total += weight;
  }
  return {HostTensor{{1, 1}, {loss / total}}};
}

}  // namespace

void append_label_cross_entropy_cases(std::vector<OpCase>& cases) {
  for (const auto& [examples, labels, vocab, dim, timed] :
       {std::tuple<Index, Index, Index, Index, bool>{2, 3, 7, 5, false},
        {1, 1, 2, 1, false},
        {30, 11, 13, 4, false},     // several chunks of rows
        {2, 5, 4500, 3, false},     // several blocks of the vocabulary
        {1, 2, 8195, 3, false},     // a row longer than a CUDA block holds
        {205, 80, 3, 2, false},     // several chunks of rows of the largest, with a rest
        {10, 15, 200, 100, false},  // several tiles each way, all with a rest
        {16, 16, 256, 64, false},   // whole tiles
        {3, 7, 130, 130, false},    // wider than two fragments of rows a warp
        {16, 17, 320, 256, false},  // as wide as the fused kernel goes, rests both ways
        {9, 16, 130, 261, false},   // wider than that
        {61, 18, 700, 20, false},   // more shares of the work than multiprocessors, in three
        {61, 18, 700, 70, false},   // replicas, at each width
        {40, 13, 3000, 200, false},
        {300, 30, 130, 250, false},  // several tiles a share
        {64, 16, 8192, 64, true},
        {256, 16, 8192, 128, true},
        {256, 16, 8192, 256, true}}) {
    OpCase c;
    c.name = fmt::format("label_cross_entropy/M={},V={},D={}", examples * labels, vocab, dim);
    c.inputs = {{examples, labels, dim}, {vocab, dim}};
    c.scale = timed ? 0.1 : dim >= 64 ? 0.3 : 1.0;
    c.batch = some_labels(examples, labels, vocab);
    c.loss = true;
    c.build = [](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{label_cross_entropy(g, t[0], t[1]).loss};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch& batch) {
      return label_cross_entropy_reference(t[0], t[1], batch);
    };
    c.tested = !timed;
    c.flops = timed ? 2.0 * static_cast<double>(examples * labels * vocab * dim) : 0;
    cases.push_back(c);
  }
}

}  // namespace recallbench
