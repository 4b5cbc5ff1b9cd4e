#include "kernels/feature_map/feature_map.h"
#include "kernels/feature_map/reference.h"
#include "kernels/linear_attention/linear_attention.h"
#include "kernels/linear_attention/reference.h"

namespace recallbench {
namespace {

struct Sizes {
  Index examples, length, heads, features, values;  ///< features and values of one head
  Index labels = 0;                                 ///< 0: queries at all positions
};

/// Scores and sums of what a query sees, forward, in the quadratic form.
double useful_flops(const Sizes& s) {
  const double pairs = s.labels > 0 ? static_cast<double>(s.labels * s.length)
                                    : static_cast<double>(s.length * (s.length + 1)) / 2;
  return 2.0 * static_cast<double>(s.examples * s.heads * (s.features + s.values)) * pairs;
}

HostBatch labelled(const Sizes& s) {
  HostBatch batch{s.examples, s.length, s.labels, {}, {}, {}, {}};
  for (Index i = 0; i < s.examples * s.labels; ++i)
    batch.positions.push_back(static_cast<std::int32_t>((7 * i + s.length - 1) % s.length));
  batch.tokens.assign(static_cast<std::size_t>(s.examples * s.length), 0);
  batch.targets.assign(batch.positions.size(), 0);
  batch.weights.assign(batch.positions.size(), 1.0f);
  return batch;
}

/// With given features q and k are first mapped to positive ones: sums of either sign come near 0,
/// where a quotient has no digits left to compare.
OpCase make_case(const Sizes& s, LinearKernel kernel, bool timed) {
  LinearAttentionOptions options{.heads = s.heads, .kernel = kernel, .at_labels = s.labels > 0};
  const bool taylor = kernel == LinearKernel::taylor;
  if (taylor) options.scale = 0.6;
  if (!timed) options.eps = 0.25;  // large enough to be seen
  const ElementwiseMap positive = ElementwiseMap::pos_elu;
  OpCase c;
  c.name = fmt::format("linear_attention/{},B={},L={},H={},f={},dh={},n={}",
                       taylor ? "taylor" : "features", s.examples, s.length, s.heads, s.features,
                       s.values, s.labels);
  const Index queries = s.labels > 0 ? s.labels : s.length;
  c.inputs = {{s.examples, queries, s.heads * s.features},
              {s.examples, s.length, s.heads * s.features},
              {s.examples, s.length, s.heads * s.values}};
  c.batch = labelled(s);
  c.build = [=](Graph& g, const std::vector<Tensor>& t) {
    const Tensor q = taylor ? t[0] : elementwise_features(g, t[0], positive);
    const Tensor k = taylor ? t[1] : elementwise_features(g, t[1], positive);
    return std::vector<Tensor>{linear_attention(g, q, k, t[2], options)};
  };
  c.reference = [=](const std::vector<HostTensor>& t, const HostBatch& batch) {
    if (taylor) return linear_attention_reference(t, batch, options);
    return linear_attention_reference({elementwise_features_reference(t[0], positive, 1.0),
                                       elementwise_features_reference(t[1], positive, 1.0), t[2]},
                                      batch, options);
  };
  c.flops = timed ? useful_flops(s) : 0;
  c.tested = !timed;
  return c;
}

/// Queries, keys and values side by side in the columns of one tensor.
OpCase sliced_case() {
  const LinearAttentionOptions options{.heads = 2, .kernel = LinearKernel::taylor, .scale = 0.5};
  OpCase c;
  c.name = "linear_attention/taylor,B=2,L=9,H=2,f=2,dh=3,slices";
  c.inputs = {{2, 9, 14}};
  c.build = [options](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{
        linear_attention(g, t[0].columns(0, 4), t[0].columns(4, 4), t[0].columns(8, 6), options)};
  };
  c.reference = [options](const std::vector<HostTensor>& t, const HostBatch& batch) {
    std::vector<HostTensor> parts{{{2, 9, 4}, {}}, {{2, 9, 4}, {}}, {{2, 9, 6}, {}}};
    for (std::size_t i = 0; i < t[0].data.size(); ++i)
      parts[i % 14 < 4 ? 0 : i % 14 < 8 ? 1 : 2].data.push_back(t[0].data[i]);
    return linear_attention_reference(parts, batch, options);
  };
  return c;
}

}  // namespace

void append_linear_attention_cases(std::vector<OpCase>& cases) {
  for (const LinearKernel kernel : {LinearKernel::taylor, LinearKernel::features}) {
    for (const Sizes& s :
         {Sizes{1, 1, 1, 1, 1}, Sizes{2, 7, 3, 2, 5}, Sizes{3, 65, 2, 5, 3}, Sizes{1, 200, 1, 3, 4},
          Sizes{2, 9, 2, 3, 2, 4}, Sizes{1, 300, 1, 3, 4, 70}, Sizes{1, 301, 2, 20, 17}})
      cases.push_back(make_case(s, kernel, false));
    for (const Index length : {64, 256, 1024, 4096, 8192}) {
      const Index features = kernel == LinearKernel::taylor ? 16 : 64;
      const Index examples = 16384 / length;
      cases.push_back(make_case({examples, length, 1, features, 64}, kernel, true));
      cases.push_back(make_case({examples, length, 1, features, 64, length / 16}, kernel, true));
    }
  }
  cases.push_back(sliced_case());
}

}  // namespace recallbench
