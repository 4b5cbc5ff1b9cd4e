#include <cmath>

#include "kernels/gated_norm/gated_norm.h"
#include "kernels/graph/op_case.h"

namespace recallbench {
namespace {

HostTensor gated_norm_reference(const std::vector<HostTensor>& t, const GatedNormOptions& options) {
  const std::size_t n = t[2].data.size();
  HostTensor y = t[0];
  std::vector<double> gates;
  for (const double z : t[1].data) {
    const double sigmoid = 1 / (1 + std::exp(-z));
    gates.push_back(options.activation == GateActivation::silu ? z * sigmoid : sigmoid);
  }
  for (std::size_t first = 0; first < y.data.size(); first += n) {
    double square = 0;
    for (std::size_t j = first; j < first + n; ++j) {
      if (options.order == GateOrder::before_norm) y.data[j] *= gates[j];
      square += y.data[j] * y.data[j] / static_cast<double>(n);
    }
    for (std::size_t j = first; j < first + n; ++j) {
      y.data[j] *= t[2].data[j - first] / std::sqrt(square + options.eps);
      if (options.order == GateOrder::after_norm) y.data[j] *= gates[j];
    }
  }
  return y;
}

struct Size {
  Index rows, groups, width;
  bool timed = false;
};

OpCase make_case(const Size& s, const GatedNormOptions& options) {
  OpCase c;
  c.name = fmt::format("gated_norm/{},{},rows={},G={},D={}",
                       options.order == GateOrder::after_norm ? "after" : "before",
                       options.activation == GateActivation::silu ? "silu" : "sigmoid", s.rows,
                       s.groups, s.width);
  c.inputs = {{s.rows, s.groups * s.width}, {s.rows, s.groups * s.width}, {1, s.width}};
  c.build = [options](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{gated_norm(g, t[0], t[1], t[2], options)};
  };
  c.reference = [options](const std::vector<HostTensor>& t, const HostBatch&) {
    return std::vector<HostTensor>{gated_norm_reference(t, options)};
  };
  c.tested = !s.timed;
  if (s.timed) c.flops = 12.0 * static_cast<double>(s.rows * s.groups * s.width);
  return c;
}

}  // namespace

void append_gated_norm_cases(std::vector<OpCase>& cases) {
  for (const GateOrder order : {GateOrder::after_norm, GateOrder::before_norm})
    for (const GateActivation activation : {GateActivation::silu, GateActivation::sigmoid})
      for (const Size& s :
           {Size{1, 1, 1}, Size{5, 1, 16}, Size{9, 3, 5}, Size{1030, 2, 3}, Size{40, 2, 32},
            Size{5, 1, 130}, Size{70, 1, 256}, Size{6, 2, 136}, Size{35, 1, 512}, Size{3, 1, 600},
            Size{16384, 2, 32, true}, Size{65536, 1, 256, true}})
        cases.push_back(make_case(s, {order, activation, 1e-2}));
}

}  // namespace recallbench
