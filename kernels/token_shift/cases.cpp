#include "kernels/graph/op_case.h"
#include "kernels/token_shift/token_shift.h"

namespace recallbench {
namespace {

std::vector<HostTensor> token_shift_reference(const std::vector<HostTensor>& t,
                                              ShiftWeight meaning) {
  const Index length = t[0].shape[1], cols = t[0].shape[2];
  HostTensor y{t[0].shape, {}};
  for (Index i = 0; i < t[0].size(); ++i) {
    const double w = t[1].data[static_cast<std::size_t>(i % cols)];
    const double now = t[0].data[static_cast<std::size_t>(i)];
    const double past = i / cols % length == 0 ? 0 : t[0].data[static_cast<std::size_t>(i - cols)];
    y.data.push_back(meaning == ShiftWeight::current ? w * now + (1 - w) * past
                                                     : w * past + (1 - w) * now);
  }
  return {y};
}

}  // namespace

void append_token_shift_cases(std::vector<OpCase>& cases) {
  struct Sizes {
    Index examples, length, cols;
  };
  for (const ShiftWeight meaning : {ShiftWeight::current, ShiftWeight::previous})
    for (const Sizes& s : {Sizes{1, 1, 1}, Sizes{3, 1, 5}, Sizes{2, 9, 17}}) {
      OpCase c;
      c.name = fmt::format("token_shift/{},B={},L={},D={}",
                           meaning == ShiftWeight::current ? "current" : "previous", s.examples,
                           s.length, s.cols);
      c.inputs = {{s.examples, s.length, s.cols}, {1, s.cols}};
      c.build = [meaning](Graph& g, const std::vector<Tensor>& t) {
        return std::vector<Tensor>{token_shift(g, t[0], t[1], meaning)};
      };
      c.reference = [meaning](const std::vector<HostTensor>& t, const HostBatch&) {
        return token_shift_reference(t, meaning);
      };
      cases.push_back(c);
    }
}

}  // namespace recallbench
