#include <cmath>

#include "kernels/graph/op_case.h"
#include "kernels/group_norm/group_norm.h"

namespace recallbench {
namespace {

std::vector<HostTensor> group_norm_reference(const std::vector<HostTensor>& t, Index groups,
                                             double eps) {
  const Index cols = t[1].shape[1], n = cols / groups;
  HostTensor y = t[0];
  for (Index first = 0; first < y.size(); first += n) {
    const auto x = t[0].data.begin() + first;
    double mean = 0, variance = 0;
    for (Index c = 0; c < n; ++c)
      mean += x[c] / static_cast<double>(n);
    for (Index c = 0; c < n; ++c)
      variance += (x[c] - mean) * (x[c] - mean) / static_cast<double>(n);
    for (Index c = 0; c < n; ++c) {
      const auto channel = static_cast<std::size_t>((first + c) % cols);
      y.data[static_cast<std::size_t>(first + c)] =
          (x[c] - mean) / std::sqrt(variance + eps) * t[1].data[channel] + t[2].data[channel];
    }
  }
  return {y};
}

}  // namespace

void append_group_norm_cases(std::vector<OpCase>& cases) {
  struct Sizes {
    Index rows, groups, numbers;
    double eps;
  };
  for (const Sizes& s :
       {Sizes{1, 1, 2, 0.1}, Sizes{7, 3, 5, 1e-3}, Sizes{1030, 2, 8, 6.4e-4}}) {  // two blocks
    OpCase c;
    c.name =
        fmt::format("group_norm/rows={},groups={},n={},eps={}", s.rows, s.groups, s.numbers, s.eps);
    const Index cols = s.groups * s.numbers;
    c.inputs = {{s.rows, cols}, {1, cols}, {1, cols}};
    c.build = [s](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{group_norm(g, t[0], t[1], t[2], s.groups, s.eps)};
    };
    c.reference = [s](const std::vector<HostTensor>& t, const HostBatch&) {
      return group_norm_reference(t, s.groups, s.eps);
    };
    cases.push_back(c);
  }
}

}  // namespace recallbench
