#include "kernels/graph/op_case.h"
#include "kernels/skip_gate/skip_gate.h"

namespace recallbench {
namespace {

struct Size {
  Index rows, cols, apart = 0;  ///< apart: columns that the views of y and gate leave out
  bool timed = false;
};

HostTensor skip_gate_reference(const std::vector<HostTensor>& t, const Size& s) {
  HostTensor out{{s.rows, s.cols}, {}};
  for (Index i = 0; i < s.rows; ++i)
    for (Index j = 0; j < s.cols; ++j) {
      const auto wide = static_cast<std::size_t>(i * (s.cols + s.apart) + j);
      const auto here = static_cast<std::size_t>(i * s.cols + j);
      const auto apart = static_cast<std::size_t>(s.apart);
      const double skipped = t[2].data[static_cast<std::size_t>(j)] * t[1].data[here];
      out.data.push_back((t[0].data[wide + apart] + skipped) * t[3].data[wide]);
    }
  return out;
}

}  // namespace

void append_skip_gate_cases(std::vector<OpCase>& cases) {
  for (const Size& s : {Size{1, 1}, Size{5, 3}, Size{40, 8}, Size{130, 12, 4}, Size{33, 10, 3},
                        Size{300, 140}, Size{9, 40}, Size{1030, 4}, Size{65536, 128, 0, true}}) {
    OpCase c;
    c.name = fmt::format("skip_gate/rows={},D={},apart={}", s.rows, s.cols, s.apart);
    c.inputs = {
        {s.rows, s.cols + s.apart}, {s.rows, s.cols}, {1, s.cols}, {s.rows, s.cols + s.apart}};
    c.build = [s](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{
          skip_gate(g, t[0].columns(s.apart, s.cols), t[1], t[2], t[3].columns(0, s.cols))};
    };
    c.reference = [s](const std::vector<HostTensor>& t, const HostBatch&) {
      return std::vector<HostTensor>{skip_gate_reference(t, s)};
    };
    c.tested = !s.timed;
    if (s.timed) c.flops = 3.0 * static_cast<double>(s.rows * s.cols);
    cases.push_back(c);
  }
}

}  // namespace recallbench
