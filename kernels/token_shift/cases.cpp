#include "kernels/graph/op_case.h"
#include "kernels/token_shift/token_shift.h"

namespace recallbench {
namespace {

struct Sizes {
  Index examples, length, cols;
  Index weights = 1;
  Index before = 0;  // columns of x and rows of the weights before those that are used
  bool timed = false;
};

std::vector<HostTensor> token_shift_reference(const std::vector<HostTensor>& t, const Sizes& s,
                                              ShiftWeight meaning) {
  std::vector<HostTensor> shifted;
  for (Index k = s.before; k < s.before + s.weights; ++k) {
    HostTensor y{{s.examples, s.length, s.cols}, {}};
    for (Index row = 0; row < s.examples * s.length; ++row)
      for (Index c = 0; c < s.cols; ++c) {
        const auto x = [&](Index i) {
          return t[0].data[static_cast<std::size_t>(i * (s.before + s.cols) + s.before + c)];
        };
        const double w = t[1].data[static_cast<std::size_t>(k * s.cols + c)];
        const double now = x(row), past = row % s.length == 0 ? 0 : x(row - 1);
        y.data.push_back(meaning == ShiftWeight::current ? w * now + (1 - w) * past
                                                         : w * past + (1 - w) * now);
      }
    shifted.push_back(y);
  }
  return shifted;
}

}  // namespace

void append_token_shift_cases(std::vector<OpCase>& cases) {
  for (const ShiftWeight meaning : {ShiftWeight::current, ShiftWeight::previous})
    for (const Sizes& s : {Sizes{1, 1, 1}, Sizes{3, 1, 5, 2}, Sizes{2, 9, 17}, Sizes{3, 50, 64, 6},
                           Sizes{2, 70, 132, 3}, Sizes{2, 13, 36, 1, 1}, Sizes{2, 13, 36, 8, 4},
                           Sizes{256, 64, 128, 1, 0, true}, Sizes{256, 64, 128, 6, 0, true}}) {
      OpCase c;
      c.name = fmt::format("token_shift/{},B={},L={},D={},n={}{}",
                           meaning == ShiftWeight::current ? "current" : "previous", s.examples,
                           s.length, s.cols, s.weights,
                           s.before > 0 ? fmt::format(",after={}", s.before) : "");
      c.inputs = {{s.examples, s.length, s.before + s.cols}, {s.before + s.weights, s.cols}};
      c.build = [s, meaning](Graph& g, const std::vector<Tensor>& t) {
        return token_shift(g, t[0].columns(s.before, s.cols), t[1].row_range(s.before, s.weights),
                           meaning);
      };
      c.reference = [s, meaning](const std::vector<HostTensor>& t, const HostBatch&) {
        return token_shift_reference(t, s, meaning);
      };
      c.tested = !s.timed;
      if (s.timed) c.flops = 3.0 * static_cast<double>(s.examples * s.length * s.cols * s.weights);
      cases.push_back(c);
    }
}

}  // namespace recallbench
