#include "kernels/embedding/embedding.h"
#include "kernels/embedding/reference.h"

namespace recallbench {
void append_embedding_cases(std::vector<OpCase>& cases) {
  for (const auto& [examples, length, vocab, cols, timed] :
       {std::tuple<Index, Index, Index, Index, bool>{2, 9, 11, 5, false},
        {3, 17, 20, 70, false},
        {5, 61, 3, 12, false},  // tokens that own several blocks of sorted rows
        {2, 32, 40, 132, false},
        {1, 1, 1, 1, false},
        {2, 35000, 2, 1, false},  // and one that owns more than a thousand
        {64, 256, 8192, 64, true}}) {
    OpCase c;
    c.name = fmt::format("embedding/B={},L={},V={},D={}", examples, length, vocab, cols);
    c.inputs = {{vocab, cols}};
    c.batch = some_tokens(examples, length, vocab);
    c.build = [b = examples, l = length](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{embedding(g, t[0], b, l)};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch& batch) {
      return std::vector<HostTensor>{embedding_reference(t[0], batch)};
    };
    c.tested = !timed;
    c.flops = timed ? static_cast<double>(examples * length * cols) : 0;
    cases.push_back(c);
  }
  for (const auto& [examples, length, positions, cols] :
       {std::tuple<Index, Index, Index, Index>{2, 3, 5, 4}, {11, 6, 6, 33}}) {
    OpCase c;
    c.name = fmt::format("add_positions/B={},L={},P={},D={}", examples, length, positions, cols);
    c.inputs = {{examples, length, cols}, {positions, cols}};
    c.build = [](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{add_positions(g, t[0], t[1])};
    };
    c.reference = [of_length = length * cols](const std::vector<HostTensor>& t, const HostBatch&) {
      HostTensor y = t[0];
      for (std::size_t i = 0; i < y.data.size(); ++i)
        y.data[i] += t[1].data[i % static_cast<std::size_t>(of_length)];
      return std::vector<HostTensor>{y};
    };
    cases.push_back(c);
  }
}

}  // namespace recallbench
