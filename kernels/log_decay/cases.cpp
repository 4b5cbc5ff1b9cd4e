#include <cmath>

#include "kernels/graph/op_case.h"
#include "kernels/log_decay/log_decay.h"

namespace recallbench {

void append_log_decay_cases(std::vector<OpCase>& cases) {
  for (const auto& [rows, heads, timed] : {std::tuple<Index, Index, bool>{1, 1, false},
                                           {7, 3, false},
                                           {4100, 2, false},  // beyond a block
                                           {16384, 2, true}}) {
    OpCase c;
    c.name = fmt::format("log_decay/rows={},H={}", rows, heads);
    c.inputs = {{rows, heads}, {1, heads}};
    c.build = [](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{log_decay(g, t[0], t[1])};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
      HostTensor y = t[0];
      for (std::size_t i = 0; i < y.data.size(); ++i)
        y.data[i] *= -std::exp(t[1].data[i % t[1].data.size()]);
      return std::vector<HostTensor>{y};
    };
    c.tested = !timed;
    if (timed) c.flops = static_cast<double>(rows * heads);
    cases.push_back(c);
  }
}

}  // namespace recallbench
