#include "kernels/causal_conv/causal_conv.h"
#include "kernels/elementwise/reference.h"
#include "kernels/graph/op_case.h"

namespace recallbench {
namespace {

/// x [B, L, C + extra] of which C columns from `first` on are used; weight [C, K]; bias [1, C] or
/// none.
std::vector<HostTensor> causal_conv_reference(const std::vector<HostTensor>& t, Index first,
                                              ConvActivation activation) {
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
                   t[0].data[static_cast<std::size_t>((b * length + from) * stride + first + c)];
        y.data.push_back(
            activation == ConvActivation::silu ? activation_reference(Activation::silu, sum) : sum);
      }
  return {y};
}

struct Size {
  Index examples, length, channels, taps, extra = 0, first = 0;
  bool bias = true, timed = false;
};

OpCase make_case(const Size& s, ConvActivation activation) {
  OpCase c;
  c.name =
      fmt::format("causal_conv/B={},L={},C={},K={},bias={}{}", s.examples, s.length, s.channels,
                  s.taps, s.bias, activation == ConvActivation::silu ? ",silu" : "");
  c.inputs = {{s.examples, s.length, s.channels + s.extra}, {s.channels, s.taps}};
  if (s.bias) c.inputs.push_back({1, s.channels});
  c.build = [s, activation](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{
        causal_conv(g, t[0].columns(s.first, s.channels), t[1],
                    t.size() > 2 ? std::optional<Tensor>(t[2]) : std::nullopt, activation)};
  };
  c.reference = [s, activation](const std::vector<HostTensor>& t, const HostBatch&) {
    return causal_conv_reference(t, s.first, activation);
  };
  c.tested = !s.timed;
  c.flops = s.timed ? 2.0 * static_cast<double>(s.examples * s.length * s.channels * s.taps) : 0;
  return c;
}

}  // namespace

void append_causal_conv_cases(std::vector<OpCase>& cases) {
  for (const ConvActivation activation : {ConvActivation::none, ConvActivation::silu})
    for (const Size& s : {Size{2, 7, 5, 3}, Size{1, 1, 1, 1},
                          Size{3, 2, 4, 4, 3, 0, false},   // longer than the sequence, a view
                          Size{19, 3, 6, 2},               // several blocks of examples
                          Size{2, 19, 70, 3, 2},           // two blocks of channels, in pairs
                          Size{2, 35, 140, 4, 4},          // two blocks of channels, in quads
                          Size{3, 17, 12, 4, 3, 1},        // a view that begins at an odd address
                          Size{2, 16, 8, 1, 8, 4},         // quads, one tap
                          Size{2, 21, 33, 11},             // a wide filter
                          Size{3, 18, 8, 5, 0, 0, false},  // a wide filter of even channels
                          Size{5, 40, 6, 4},               // several partial weight gradients
                          Size{2049, 9, 64, 4},            // long walks on a GPU
                          Size{64, 256, 64, 3, 0, 0, true, true}})
      cases.push_back(make_case(s, activation));
}

}  // namespace recallbench
