#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/softmax_attention/reference.h"

namespace recallbench {
namespace {

struct Sizes {
  Index examples, length, heads, dh, dv;
  std::optional<Index> window;
  double dropout = 0;
  Index labels = 0;    ///< 0: a query at every position
  bool fused = false;  ///< q, k, v are columns of one tensor
};

/// Positions in no order, the last of each example a padding 0.
HostBatch label_batch(const Sizes& s) {
  HostBatch batch{s.examples, s.length, s.labels, {}, {}, {}, {}};
  for (Index b = 0; b < s.examples; ++b)
    for (Index i = 0; i < s.labels; ++i) {
      const bool padding = i > 0 && i + 1 == s.labels;
      batch.positions.push_back(
          padding ? 0 : static_cast<std::int32_t>((s.length - 1 + 7 * i + 3 * b) % s.length));
      batch.weights.push_back(padding ? 0.0f : 1.0f);
    }
  batch.tokens.assign(static_cast<std::size_t>(s.examples * s.length), 0);
  batch.targets.assign(batch.positions.size(), 0);
  return batch;
}

/// Multiplications and additions of the visible pairs, in the products with k and with v.
double useful_operations(const Sizes& s) {
  double pairs = 0;  // of all examples
  const auto add = [&](Index t, Index times) {
    pairs += static_cast<double>((std::min(t, s.window.value_or(t)) + 1) * times);
  };
  if (s.labels > 0)
    for (const Index t : label_batch(s).positions)
      add(t, 1);
  else
    for (Index t = 0; t < s.length; ++t)
      add(t, s.examples);
  return 2 * pairs * static_cast<double>(s.heads * (s.dh + s.dv));
}

HostTensor columns(const HostTensor& x, Index first, Index count) {
  HostTensor part{{x.shape[0], x.shape[1], count}, {}};
  for (Index row = 0; row < x.shape[0] * x.shape[1]; ++row) {
    const auto begin = x.data.begin() + row * x.shape[2] + first;
    part.data.insert(part.data.end(), begin, begin + count);
  }
  return part;
}

OpCase make_case(const Sizes& s) {
  OpCase c;
  const Index dk = s.heads * s.dh, dv = s.heads * s.dv,
              queries = s.labels > 0 ? s.labels : s.length;
  c.name = fmt::format("softmax_attention/B={},L={},H={},dh={},dv={}", s.examples, s.length,
                       s.heads, s.dh, s.dv);
  if (s.window) c.name += fmt::format(",window={}", *s.window);
  if (s.dropout > 0) c.name += fmt::format(",p={}", s.dropout);
  if (s.labels > 0) c.name += fmt::format(",labels={}", s.labels);
  if (s.fused) c.name += ",fused";
  const SoftmaxAttentionOptions options{s.heads, 1 / std::sqrt(static_cast<double>(s.dh)), s.window,
                                        s.dropout, s.labels > 0};
  c.batch = label_batch(s);
  if (s.fused) {
    c.inputs = {{s.examples, s.length, 2 * dk + dv}};
    c.build = [=](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{softmax_attention(g, t[0].columns(0, dk), t[0].columns(dk, dk),
                                                   t[0].columns(2 * dk, dv), options)};
    };
    c.reference = [=](const std::vector<HostTensor>& t, const HostBatch& batch) {
      return softmax_attention_reference(
          {columns(t[0], 0, dk), columns(t[0], dk, dk), columns(t[0], 2 * dk, dv)}, batch, options);
    };
  } else {
    c.inputs = {{s.examples, queries, dk}, {s.examples, s.length, dk}, {s.examples, s.length, dv}};
    c.build = [=](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{softmax_attention(g, t[0], t[1], t[2], options)};
    };
    c.reference = [=](const std::vector<HostTensor>& t, const HostBatch& batch) {
      return softmax_attention_reference(t, batch, options);
    };
  }
  return c;
}

}  // namespace

void append_softmax_attention_cases(std::vector<OpCase>& cases) {
  for (const Sizes& s : {Sizes{1, 1, 1, 1, 1, {}}, Sizes{2, 5, 2, 3, 3, {}, 0, 0, true},
                         Sizes{2, 131, 3, 5, 4, {}},  // more than one block of queries
                         Sizes{1, 70, 2, 4, 4, 9, 0, 0, true}, Sizes{3, 7, 1, 2, 3, 0},
                         Sizes{1, 9, 1, 4, 4, 50}, Sizes{2, 21, 2, 4, 3, {}, 0.25},
                         Sizes{2, 67, 1, 3, 3, 5, 0.5, 0, true}, Sizes{2, 90, 2, 3, 4, {}, 0, 71},
                         Sizes{2, 33, 1, 4, 4, 6, 0.25, 8}, Sizes{3, 4, 1, 2, 2, {}, 0, 1},
                         // Widths, lengths and labels at and over one tile of the CUDA kernels, and
                         // keys that no query sees.
                         Sizes{1, 64, 1, 64, 64, {}, 0, 0, true}, Sizes{1, 150, 1, 66, 20, {}},
                         Sizes{1, 133, 1, 68, 72, 40, 0.1, 0, true}, Sizes{1, 70, 1, 130, 36, {}},
                         Sizes{1, 40, 1, 20, 261, 9, 0.1, 9}, Sizes{1, 130, 1, 64, 64, {}, 0, 16},
                         Sizes{2, 140, 2, 40, 24, 20, 0.1, 41},
                         Sizes{1, 100, 1, 72, 128, {}, 0, 33}, Sizes{1, 70, 1, 100, 72, {}, 0, 5},
                         Sizes{1, 600, 1, 4, 4, 10, 0, 3}, Sizes{1, 700, 1, 4, 4, 2, 0, 70}})
    cases.push_back(make_case(s));
  const auto benchmark = [&](const Sizes& s) {
    OpCase c = make_case(s);
    c.flops = useful_operations(s);
    c.tested = false;
    cases.push_back(c);
  };
  for (const Index length : {64, 256})
    for (const Index d : {64, 128})
      for (const Sizes& s :
           {Sizes{64, length, 1, d, d, {}, 0, 0, true},
            Sizes{64, length, 2, d / 2, d / 2, {}, 0, 0, true},
            Sizes{64, length, 1, d, d, 16, 0, 0, true}, Sizes{64, length, 1, d, d, 64, 0, 0, true},
            Sizes{64, length, 1, d, d, {}, 0.1, 0, true}})
        benchmark(s);
  // The last layer of a training step.
  for (const auto& [length, labels] : {std::pair<Index, Index>{64, 4}, {256, 16}, {256, 64}})
    for (const Index d : {64, 128})
      benchmark({256, length, 1, d, d, {}, 0, labels});
}

}  // namespace recallbench
