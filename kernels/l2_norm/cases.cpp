#include "kernels/feature_map/feature_map.h"
#include "kernels/feature_map/reference.h"
#include "kernels/l2_norm/l2_norm.h"
#include "kernels/l2_norm/reference.h"

namespace recallbench {
namespace {

struct Size {
  Index rows, heads, width;
  bool timed = false;
};

OpCase make_case(const Size& s, bool by_sum) {
  OpCase c;
  c.name = fmt::format("{}/rows={},H={},D={}", by_sum ? "sum_norm" : "l2_norm", s.rows, s.heads,
                       s.width);
  c.inputs = {{s.rows, s.heads * s.width}};
  const double eps = s.timed ? 1e-6 : 0.1;  // large enough to be seen
  // Numbers of either sign may add up to nearly 0: the sum's are made positive first.
  const ElementwiseMap positive = ElementwiseMap::pos_elu;
  c.build = [=](Graph& g, const std::vector<Tensor>& t) {
    if (!by_sum) return std::vector<Tensor>{l2_norm(g, t[0], s.heads, eps)};
    return std::vector<Tensor>{sum_norm(g, elementwise_features(g, t[0], positive), s.heads)};
  };
  c.reference = [=](const std::vector<HostTensor>& t, const HostBatch&) {
    if (!by_sum) return std::vector<HostTensor>{l2_norm_reference(t[0], s.heads, eps)};
    return std::vector<HostTensor>{
        sum_norm_reference(elementwise_features_reference(t[0], positive, 1.0), s.heads)};
  };
  c.tested = !s.timed;
  if (s.timed) c.flops = 3.0 * static_cast<double>(s.rows * s.heads * s.width);
  return c;
}

}  // namespace

void append_l2_norm_cases(std::vector<OpCase>& cases) {
  cases.push_back(make_case({1, 1, 1}, false));  // by its sum it would be 1, without a gradient
  for (const Size& s :
       {Size{1, 1, 2}, Size{5, 1, 7}, Size{9, 3, 5}, Size{1500, 2, 3}, Size{5, 2, 32},
        Size{9, 1, 72}, Size{3, 2, 150}, Size{3, 1, 600}, Size{16384, 2, 32, true}})
    for (const bool by_sum : {false, true})
      if (!s.timed || !by_sum) cases.push_back(make_case(s, by_sum));
}

}  // namespace recallbench
