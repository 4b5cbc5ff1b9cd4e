#include "kernels/graph/op_case.h"
#include "kernels/residual_norm/reference.h"
#include "kernels/residual_norm/residual_norm.h"

namespace recallbench {
namespace {

constexpr double kEps = 1e-2;

OpCase residual_norm_case(Index rows, Index cols, double p, bool centred) {
  OpCase c;
  c.name =
      fmt::format("residual_norm/{},rows={},D={},p={}", centred ? "layer" : "rms", rows, cols, p);
  c.inputs = {{rows, cols}, {rows, cols}, {1, cols}};
  if (centred) c.inputs.push_back({1, cols});
  c.build = [p, centred](Graph& g, const std::vector<Tensor>& t) {
    const ResidualNorm out = residual_norm(
        g, t[0], t[1], p, t[2], centred ? std::optional<Tensor>(t[3]) : std::nullopt, kEps);
    return std::vector<Tensor>{out.stream, out.normalised};
  };
  c.reference = [p](const std::vector<HostTensor>& t, const HostBatch&) {
    return residual_norm_reference(t, p, 0, kEps);
  };
  return c;
}

/// A branch that is a slice of columns, at odd addresses; the stream goes unused afterwards.
OpCase column_slice() {
  OpCase c = residual_norm_case(6, 8, 0.1, true);
  c.name = "residual_norm/columns";
  c.inputs = {{6, 8}, {6, 11}, {1, 8}, {1, 8}};
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{
        residual_norm(g, t[0], t[1].columns(3, 8), 0.1, t[2], t[3], kEps).normalised};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor h{{6, 8}, {}};
    for (std::size_t i = 0; i < 6; ++i)
      for (std::size_t j = 3; j < 11; ++j)
        h.data.push_back(t[1].data[i * 11 + j]);
    return std::vector<HostTensor>{residual_norm_reference({t[0], h, t[2], t[3]}, 0.1, 0, kEps)[1]};
  };
  return c;
}

}  // namespace

void append_residual_norm_cases(std::vector<OpCase>& cases) {
  cases.push_back(residual_norm_case(5, 7, 0.1, true));
  cases.push_back(residual_norm_case(5, 7, 0.1, false));
  cases.push_back(residual_norm_case(1, 16, 0.0, true));
  cases.push_back(residual_norm_case(37, 64, 0.1, true));
  cases.push_back(residual_norm_case(40, 128, 0.5, false));
  cases.push_back(residual_norm_case(9, 200, 0.1, true));
  cases.push_back(residual_norm_case(9, 300, 0.1, true));
  cases.push_back(residual_norm_case(3, 515, 0.1, false));
  cases.push_back(residual_norm_case(8200, 4, 0.1, true));  // more than 256 blocks of 32 rows
  cases.push_back(column_slice());
  OpCase timed = residual_norm_case(16384, 64, 0.1, true);
  timed.tested = false;
  timed.flops = 10.0 * 16384 * 64;
  cases.push_back(timed);
}

}  // namespace recallbench
