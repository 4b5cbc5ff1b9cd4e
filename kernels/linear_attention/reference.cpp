#include "kernels/linear_attention/reference.h"

namespace recallbench {
namespace {

/// Row (b, t) of a [B, rows, cols] tensor, from the first column of head h.
const double* head_row(const HostTensor& x, Index b, Index t, Index h, Index heads) {
  const Index cols = x.shape[2];
  return x.data.data() + (b * x.shape[1] + t) * cols + h * (cols / heads);
}

double weight(const double* q, const double* k, Index features,
              const LinearAttentionOptions& options) {
  double s = 0;
  for (Index c = 0; c < features; ++c)
    s += q[c] * k[c];
  if (options.kernel == LinearKernel::features) return s;
  s *= options.scale;
  return 1 + s + s * s / 2;
}

}  // namespace

std::vector<HostTensor> linear_attention_reference(const std::vector<HostTensor>& inputs,
                                                   const HostBatch& batch,
                                                   const LinearAttentionOptions& options) {
  const HostTensor &q = inputs[0], &k = inputs[1], &v = inputs[2];
  const Index heads = options.heads, queries = q.shape[1];
  const Index features = q.shape[2] / heads, values = v.shape[2] / heads;
  HostTensor y{{q.shape[0], queries, v.shape[2]}, {}};
  y.data.assign(static_cast<std::size_t>(q.shape[0] * queries * v.shape[2]), 0);
  for (Index b = 0; b < q.shape[0]; ++b) {
    for (Index i = 0; i < queries; ++i) {
      const Index t =
          options.at_labels ? batch.positions[static_cast<std::size_t>(b * queries + i)] : i;
      for (Index h = 0; h < heads; ++h) {
        double* to = y.data.data() + (b * queries + i) * v.shape[2] + h * values;
        double denominator = options.eps;
        for (Index j = 0; j <= t; ++j) {
          const double w =
              weight(head_row(q, b, i, h, heads), head_row(k, b, j, h, heads), features, options);
          denominator += w;
          for (Index c = 0; c < values; ++c)
            to[c] += w * head_row(v, b, j, h, heads)[c];
        }
        for (Index c = 0; c < values; ++c)
          to[c] /= denominator;
      }
    }
  }
  return {y};
}

}  // namespace recallbench
