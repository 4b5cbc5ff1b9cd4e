#include "kernels/softmax_attention/reference.h"

#include <algorithm>
#include <cmath>

namespace recallbench {
namespace {

double at(const HostTensor& x, Index example, Index row, Index col) {
  return x.data[static_cast<std::size_t>((example * x.shape[1] + row) * x.shape[2] + col)];
}

double drop(double p, std::uint64_t element) {
  const auto words = Philox{17}(static_cast<std::uint32_t>(element / 4), 3, 0,
                                static_cast<std::uint32_t>(Purpose::dropout));
  return words[element % 4] < std::floor((1 - p) * 0x1p32) ? 1 / (1 - p) : 0;
}

}  // namespace

std::vector<HostTensor> softmax_attention_reference(const std::vector<HostTensor>& inputs,
                                                    const HostBatch& batch,
                                                    const SoftmaxAttentionOptions& options) {
  const HostTensor &q = inputs[0], &k = inputs[1], &v = inputs[2];
  const Index length = k.shape[1], dh = k.shape[2] / options.heads, dv = v.shape[2] / options.heads;
  HostTensor o{{q.shape[0], q.shape[1], v.shape[2]}, {}};
  for (Index b = 0; b < q.shape[0]; ++b)
    for (Index i = 0; i < q.shape[1]; ++i) {
      const Index t =
          options.at_labels ? batch.positions[static_cast<std::size_t>(b * batch.labels + i)] : i;
      const Index first = std::max<Index>(0, t - options.window.value_or(t));
      for (Index h = 0; h < options.heads; ++h) {
        std::vector<double> weight;
        double highest = -INFINITY, sum = 0;
        for (Index j = first; j <= t; ++j) {
          double score = 0;
          for (Index c = h * dh; c < (h + 1) * dh; ++c)
            score += at(q, b, i, c) * at(k, b, j, c);
          weight.push_back(options.scale * score);
          highest = std::max(highest, weight.back());
        }
        for (double& w : weight)
          sum += w = std::exp(w - highest);
        for (Index c = h * dv; c < (h + 1) * dv; ++c) {
          double mean = 0;
          for (Index j = first; j <= t; ++j) {
            const Index element = ((b * options.heads + h) * length + t) * length + j;
            mean += weight[static_cast<std::size_t>(j - first)] / sum * at(v, b, j, c) *
                    drop(options.dropout, static_cast<std::uint64_t>(element));
          }
          o.data.push_back(mean);
        }
      }
    }
  return {o};
}

}  // namespace recallbench
