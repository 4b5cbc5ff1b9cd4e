#include "kernels/graph/op_case.h"
#include "kernels/token_bonus/token_bonus.h"

namespace recallbench {
namespace {

std::vector<HostTensor> token_bonus_reference(const std::vector<HostTensor>& t) {
  const Index n = t[4].shape[1], cols = t[0].shape[1];
  HostTensor y = t[0];
  for (Index i = 0; i < y.size(); ++i)
    for (Index c = i - i % n; c < i - i % n + n; ++c)
      y.data[static_cast<std::size_t>(i)] +=
          t[1].data[static_cast<std::size_t>(c)] * t[2].data[static_cast<std::size_t>(c)] *
          t[4].data[static_cast<std::size_t>(c % cols)] * t[3].data[static_cast<std::size_t>(i)];
  return {y};
}

}  // namespace

void append_token_bonus_cases(std::vector<OpCase>& cases) {
  struct Sizes {
    Index rows, heads, numbers;
    bool timed = false;
  };
  for (const Sizes& s : {Sizes{1, 1, 1}, Sizes{5, 3, 7}, Sizes{1025, 2, 4},  // two blocks
                         Sizes{70, 2, 64}, Sizes{3, 1, 96}, Sizes{5, 2, 150}, Sizes{5, 1, 260},
                         Sizes{16384, 2, 64, true}}) {
    OpCase c;
    c.name = fmt::format("token_bonus/rows={},H={},n={}", s.rows, s.heads, s.numbers);
    const std::vector<Index> rows = {s.rows, s.heads * s.numbers};
    c.inputs = {rows, rows, rows, rows, {s.heads, s.numbers}};
    c.build = [](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{token_bonus(g, {t[0], t[1], t[2], t[3], t[4]})};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
      return token_bonus_reference(t);
    };
    c.tested = !s.timed;
    if (s.timed) c.flops = 5.0 * static_cast<double>(s.rows * s.heads * s.numbers);
    cases.push_back(c);
  }
}

}  // namespace recallbench
