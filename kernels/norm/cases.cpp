#include <cmath>

#include "kernels/graph/op_case.h"
#include "kernels/norm/norm.h"

namespace recallbench {
namespace {

std::vector<HostTensor> norm_reference(const std::vector<HostTensor>& t, double eps) {
  const bool centred = t.size() > 2;
  const std::size_t n = t[1].data.size();
  HostTensor y = t[0];
  for (std::size_t first = 0; first < y.data.size(); first += n) {
    double mean = 0, square = 0;
    for (std::size_t j = 0; j < n; ++j)
      mean += centred ? t[0].data[first + j] / static_cast<double>(n) : 0;
    for (std::size_t j = 0; j < n; ++j)
      square +=
          (t[0].data[first + j] - mean) * (t[0].data[first + j] - mean) / static_cast<double>(n);
    for (std::size_t j = 0; j < n; ++j)
      y.data[first + j] = (t[0].data[first + j] - mean) / std::sqrt(square + eps) * t[1].data[j] +
                          (centred ? t[2].data[j] : 0);
  }
  return {y};
}

}  // namespace

void append_norm_cases(std::vector<OpCase>& cases) {
  for (const bool centred : {true, false}) {
    for (const auto& [rows, cols, timed] : {std::tuple<Index, Index, bool>{5, 7, false},
                                            {1, 16, false},
                                            {1500, 3, false},
                                            {37, 64, false},
                                            {40, 128, false},
                                            {9, 200, false},
                                            {9, 300, false},
                                            {3, 515, false},
                                            {8200, 4, false},
                                            {16384, 64, true}}) {
      OpCase c;
      c.name = fmt::format("{}/rows={},D={}", centred ? "layer_norm" : "rms_norm", rows, cols);
      c.inputs = {{rows, cols}, {1, cols}};
      if (centred) c.inputs.push_back({1, cols});
      c.build = [centred](Graph& g, const std::vector<Tensor>& t) {
        return std::vector<Tensor>{centred ? layer_norm(g, t[0], t[1], t[2], 1e-2)
                                           : rms_norm(g, t[0], t[1], 1e-2)};
      };
      c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
        return norm_reference(t, 1e-2);
      };
      c.tested = !timed;
      c.flops = timed ? 8.0 * static_cast<double>(rows * cols) : 0;
      cases.push_back(c);
    }
  }
}

}  // namespace recallbench
