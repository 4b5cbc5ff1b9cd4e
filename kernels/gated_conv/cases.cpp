#include "kernels/gated_conv/gated_conv.h"
#include "kernels/graph/op_case.h"

namespace recallbench {
namespace {

/// u and gate [B, L, C + extra], of which the first and the last C columns are used; weight [C, K];
/// bias [1, C]. The formula of gated_conv.h, element by element.
std::vector<HostTensor> gated_conv_reference(const std::vector<HostTensor>& t, Index extra) {
  const std::size_t gate = t.size() - 3;  // u itself, or the next input
  const Index examples = t[0].shape[0], length = t[0].shape[1], stride = t[0].shape[2];
  const Index channels = t[gate + 1].shape[0], taps = t[gate + 1].shape[1];
  const auto u = [&](Index row, Index c) {
    return t[0].data[static_cast<std::size_t>(row * stride + c)];
  };
  HostTensor y{{examples, length, channels}, {}};
  for (Index row = 0; row < examples * length; ++row)
    for (Index c = 0; c < channels; ++c) {
      double sum = t[gate + 2].data[static_cast<std::size_t>(c)];
      for (Index j = 0; j < taps; ++j)
        if (const Index back = taps - 1 - j; back <= row % length)
          sum += t[gate + 1].data[static_cast<std::size_t>(c * taps + j)] * u(row - back, c);
      const double factor = t[gate].data[static_cast<std::size_t>(row * stride + extra + c)];
      y.data.push_back(sum * factor + u(row, c));
    }
  return {y};
}

}  // namespace

void append_gated_conv_cases(std::vector<OpCase>& cases) {
  struct Size {
    Index examples, length, channels, taps, extra;
    bool self_gated, timed;
  };
  for (const Size& s :
       {Size{2, 7, 5, 3, 0, false, false}, Size{1, 1, 1, 1, 0, false, false},
        Size{3, 2, 4, 4, 3, false, false},    // longer than the sequence, views
        Size{3, 19, 66, 3, 2, false, false},  // two blocks of channels, in pairs
        Size{5, 37, 8, 2, 0, false, false},   // more than one partial weight gradient
        Size{3, 9, 6, 3, 0, true, false}, Size{2, 21, 35, 11, 1, false, false},  // a wide filter
        Size{64, 256, 64, 3, 0, false, true}}) {
    OpCase c;
    c.name = fmt::format("gated_conv/B={},L={},C={},K={}{}", s.examples, s.length, s.channels,
                         s.taps, s.self_gated ? ",gate=u" : "");
    const std::vector<Index> wide = {s.examples, s.length, s.channels + s.extra};
    c.inputs = {wide, wide, {s.channels, s.taps}, {1, s.channels}};
    if (s.self_gated) c.inputs.erase(c.inputs.begin());
    c.build = [s](Graph& g, const std::vector<Tensor>& t) {
      const std::size_t gate = t.size() - 3;
      return std::vector<Tensor>{gated_conv(g, t[0].columns(0, s.channels),
                                            t[gate].columns(s.extra, s.channels), t[gate + 1],
                                            t[gate + 2])};
    };
    c.reference = [s](const std::vector<HostTensor>& t, const HostBatch&) {
      return gated_conv_reference(t, s.extra);
    };
    c.tested = !s.timed;
    c.flops =
        s.timed ? 2.0 * static_cast<double>(s.examples * s.length * s.channels * (s.taps + 1)) : 0;
    cases.push_back(c);
  }
}

}  // namespace recallbench
