#include "kernels/rotary/reference.h"
#include "kernels/rotary/rotary.h"

namespace recallbench {

void append_rotary_cases(std::vector<OpCase>& cases) {
  struct Sizes {
    Index examples, length, heads, numbers;
    double base;
  };
  for (const Sizes& s : {Sizes{1, 1, 1, 2, 10000}, Sizes{2, 7, 3, 4, 10000},
                         Sizes{3, 130, 1, 6, 100}, Sizes{1, 5, 2, 34, 10000}}) {
    OpCase c;
    c.name = fmt::format("rotary/B={},L={},H={},n={},base={}", s.examples, s.length, s.heads,
                         s.numbers, s.base);
    c.inputs = {{s.examples, s.length, s.heads * s.numbers}};
    c.build = [s](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{rotary(g, t[0], s.heads, s.base)};
    };
    c.reference = [s](const std::vector<HostTensor>& t, const HostBatch&) {
      return std::vector<HostTensor>{rotary_reference(t[0], s.heads, s.base)};
    };
    cases.push_back(c);
  }
}

}  // namespace recallbench
