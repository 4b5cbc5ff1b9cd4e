#include <cmath>

#include "kernels/graph/op_case.h"
#include "kernels/rotary/rotary.h"

namespace recallbench {
namespace {

struct Size {
  Index examples, rows, heads, head_dim, positions;
  bool at_labels, given_frequencies, halves;
  bool timed = false;
};

HostBatch label_batch(const Size& s) {
  HostBatch batch{s.examples, 9, s.at_labels ? s.rows : 0, {}, {}, {}, {}};
  batch.tokens.assign(static_cast<std::size_t>(s.examples * 9), 0);
  for (Index i = 0; i < s.examples * batch.labels; ++i)
    batch.positions.push_back(static_cast<std::int32_t>((5 * i + 3) % 9));
  batch.targets.assign(batch.positions.size(), 0);
  batch.weights.assign(batch.positions.size(), 1);
  return batch;
}

/// As complex numbers: y = x e^{iθ}.
std::vector<HostTensor> reference(const Size& s, const std::vector<HostTensor>& t,
                                  const HostBatch& batch) {
  HostTensor y = t[0];
  const Index pairs = s.head_dim / 2;
  for (Index row = 0; row < s.examples * s.rows; ++row)
    for (Index h = 0; h < s.heads; ++h)
      for (Index i = 0; i < pairs; ++i) {
        const Index at =
            s.at_labels ? batch.positions[static_cast<std::size_t>(row)] : row % s.rows;
        const double frequency =
            s.given_frequencies
                ? t[1].data[static_cast<std::size_t>(i)]
                : 1 / std::pow(1000.0, static_cast<double>(2 * i) / static_cast<double>(2 * pairs));
        const double angle = static_cast<double>(at % s.positions) * frequency;
        double* head = y.data.data() + (row * s.heads + h) * s.head_dim;
        double &first = head[s.halves ? i : 2 * i],
               &second = head[s.halves ? i + pairs : 2 * i + 1];
        const double a = first, b = second;
        first = a * std::cos(angle) - b * std::sin(angle);
        second = a * std::sin(angle) + b * std::cos(angle);
      }
  return {y};
}

}  // namespace

void append_rotary_cases(std::vector<OpCase>& cases) {
  for (const Size& s :
       {Size{2, 9, 2, 6, 9, false, false, false}, Size{1, 11, 1, 2, 4, false, false, false},
        Size{3, 5, 3, 4, 20, true, false, false}, Size{2, 7, 1, 8, 7, false, true, false},
        Size{2, 9, 3, 6, 9, false, false, true}, Size{2, 7, 2, 8, 7, false, true, true},
        Size{3, 50, 2, 8, 50, false, true, false}, Size{2, 3, 1, 72, 3, false, true, true},
        Size{256, 64, 2, 64, 64, false, false, true, true}}) {
    OpCase c;
    c.name = fmt::format("rotary/B={},n={},H={},f={},positions={}{}{}{}", s.examples, s.rows,
                         s.heads, s.head_dim, s.positions, s.at_labels ? ",labels" : "",
                         s.given_frequencies ? ",given" : "", s.halves ? ",halves" : "");
    c.inputs = {{s.examples, s.rows, s.heads * s.head_dim}};
    if (s.given_frequencies) c.inputs.push_back({1, s.head_dim / 2});
    c.batch = label_batch(s);
    c.build = [s](Graph& g, const std::vector<Tensor>& t) {
      const RotaryOptions options{s.heads, s.positions, s.at_labels,
                                  s.halves ? RotaryPairs::halves : RotaryPairs::neighbours};
      return std::vector<Tensor>{s.given_frequencies ? rotary(g, t[0], t[1], options)
                                                     : rotary(g, t[0], 1000.0, options)};
    };
    c.reference = [s](const std::vector<HostTensor>& t, const HostBatch& batch) {
      return reference(s, t, batch);
    };
    c.tested = !s.timed;
    if (s.timed) c.flops = 3.0 * static_cast<double>(s.examples * s.rows * s.heads * s.head_dim);
    cases.push_back(c);
  }
}

}  // namespace recallbench
