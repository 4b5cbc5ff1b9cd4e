#include "kernels/double_residual_norm/double_residual_norm.h"
#include "kernels/residual_norm/reference.h"

namespace recallbench {
namespace {

constexpr double kEps = 1e-2;

/// t: r, h, weight and bias of the first norm, of the second.
std::vector<HostTensor> double_reference(const std::vector<HostTensor>& t, double p) {
  const auto inner = residual_norm_reference({t[0], t[1], t[2], t[3]}, p, 0, kEps);
  return residual_norm_reference({inner[0], inner[1], t[4], t[5]}, p, 1, kEps);
}

OpCase double_residual_norm_case(Index rows, Index cols, double p) {
  OpCase c;
  c.name = fmt::format("double_residual_norm/rows={},D={},p={}", rows, cols, p);
  c.inputs = {{rows, cols}, {rows, cols}, {1, cols}, {1, cols}, {1, cols}, {1, cols}};
  c.build = [p](Graph& g, const std::vector<Tensor>& t) {
    const ResidualNorm out =
        double_residual_norm(g, t[0], t[1], p, {t[2], t[3]}, {t[4], t[5]}, kEps);
    return std::vector<Tensor>{out.stream, out.normalised};
  };
  c.reference = [p](const std::vector<HostTensor>& t, const HostBatch&) {
    return double_reference(t, p);
  };
  return c;
}

/// A branch that is a slice of columns, at odd addresses; the stream goes unused afterwards.
OpCase column_slice() {
  OpCase c = double_residual_norm_case(6, 8, 0.1);
  c.name = "double_residual_norm/columns";
  c.inputs[1] = {6, 11};
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{
        double_residual_norm(g, t[0], t[1].columns(3, 8), 0.1, {t[2], t[3]}, {t[4], t[5]}, kEps)
            .normalised};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    std::vector<HostTensor> sliced = t;
    sliced[1] = {{6, 8}, {}};
    for (std::size_t i = 0; i < 6; ++i)
      for (std::size_t j = 3; j < 11; ++j)
        sliced[1].data.push_back(t[1].data[i * 11 + j]);
    return std::vector<HostTensor>{double_reference(sliced, 0.1)[1]};
  };
  return c;
}

}  // namespace

void append_double_residual_norm_cases(std::vector<OpCase>& cases) {
  cases.push_back(double_residual_norm_case(5, 7, 0.1));
  cases.push_back(double_residual_norm_case(2, 16, 0.0));
  cases.push_back(double_residual_norm_case(37, 64, 0.1));
  cases.push_back(double_residual_norm_case(40, 128, 0.0));
  cases.push_back(double_residual_norm_case(9, 200, 0.1));
  cases.push_back(double_residual_norm_case(9, 300, 0.1));
  cases.push_back(double_residual_norm_case(3, 515, 0.1));
  cases.push_back(double_residual_norm_case(8200, 4, 0.1));  // more than 256 blocks of 32 rows
  cases.push_back(column_slice());
  OpCase timed = double_residual_norm_case(16384, 64, 0.0);
  timed.tested = false;
  timed.flops = 20.0 * 16384 * 64;
  cases.push_back(timed);
}

}  // namespace recallbench
