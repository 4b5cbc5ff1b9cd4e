#include <cmath>

#include "kernels/dropout/dropout.h"
#include "kernels/graph/op_case.h"

namespace recallbench {
namespace {

/// The definition, one element at a time. Cases run with seed 17, step 3 and random id 0.
std::vector<HostTensor> dropout_reference(const HostTensor& x, double p) {
  HostTensor y = x;
  for (std::size_t e = 0; e < y.data.size(); ++e) {
    const auto words = Philox{17}(static_cast<std::uint32_t>(e / 4), 3, 0,
                                  static_cast<std::uint32_t>(Purpose::dropout));
    const bool kept = words[e % 4] < std::floor((1 - p) * 0x1p32);
    y.data[e] = kept ? x.data[e] / (1 - p) : 0;
  }
  return {y};
}

}  // namespace

void append_dropout_cases(std::vector<OpCase>& cases) {
  for (const auto& [rows, cols, p, timed] :
       {std::tuple<Index, Index, double, bool>{3, 5, 0.1, false},
        {70, 33, 0.5, false},
        {9, 64, 0.1, false},
        {16384, 64, 0.1, true}}) {
    OpCase c;
    c.name = fmt::format("dropout/rows={},cols={},p={}", rows, cols, p);
    c.inputs = {{rows, cols}};
    c.build = [p = p](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{dropout(g, t[0], p)};
    };
    c.reference = [p = p](const std::vector<HostTensor>& t, const HostBatch&) {
      return dropout_reference(t[0], p);
    };
    c.flops = timed ? static_cast<double>(rows * cols) : 0;
    c.tested = !timed;
    cases.push_back(c);
  }
}

}  // namespace recallbench
