#include "kernels/causal_conv/causal_conv.h"
#include "kernels/graph/op_case.h"

namespace recallbench {
namespace {

/// x [B, L, C + extra] of which the first C columns are used; weight [C, K]; bias [1, C] or none.
std::vector<HostTensor> causal_conv_reference(const std::vector<HostTensor>& t) {
  const Index examples = t[0].shape[0], length = t[0].shape[1], stride = t[0].shape[2];
  const Index channels = t[1].shape[0], taps = t[1].shape[1];
  HostTensor y{{examples, length, channels}, {}};
  for (Index b = 0; b < examples; ++b)
    for (Index s = 0; s < length; ++s)
      for (Index c = 0; c < channels; ++c) {
        double sum = t.size() > 2 ? t[2].data[static_cast<std::size_t>(c)] : 0;
        for (Index j = 0; j < taps; ++j)
          if (const Index from = s - taps + 1 + j; from >= 0)
            sum += t[1].data[static_cast<std::size_t>(c * taps + j)] *
                   t[0].data[static_cast<std::size_t>((b * length + from) * stride + c)];
        y.data.push_back(sum);
      }
  return {y};
}

}  // namespace

void append_causal_conv_cases(std::vector<OpCase>& cases) {
  struct Size {
    Index examples, length, channels, taps, extra;
    bool bias, timed;
  };
  for (const Size& s : {Size{2, 7, 5, 3, 0, true, false}, Size{1, 1, 1, 1, 0, true, false},
                        Size{3, 2, 4, 4, 3, false, false},    // longer than the sequence, a view
                        Size{19, 3, 6, 2, 0, true, false},    // several blocks of examples
                        Size{2, 19, 70, 3, 2, true, false},   // two blocks of channels, in pairs
                        Size{2, 21, 33, 11, 0, true, false},  // a wide filter
                        Size{5, 40, 6, 4, 0, true, false},    // several partial weight gradients
                        Size{64, 256, 64, 3, 0, true, true}}) {
    OpCase c;
    c.name = fmt::format("causal_conv/B={},L={},C={},K={},bias={}", s.examples, s.length,
                         s.channels, s.taps, s.bias);
    c.inputs = {{s.examples, s.length, s.channels + s.extra}, {s.channels, s.taps}};
    if (s.bias) c.inputs.push_back({1, s.channels});
    c.build = [s](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{
          causal_conv(g, t[0].columns(0, s.channels), t[1],
                      t.size() > 2 ? std::optional<Tensor>(t[2]) : std::nullopt)};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
      return causal_conv_reference(t);
    };
    c.tested = !s.timed;
    c.flops = s.timed ? 2.0 * static_cast<double>(s.examples * s.length * s.channels * s.taps) : 0;
    cases.push_back(c);
  }
}

}  // namespace recallbench
