#include <algorithm>

#include "kernels/graph/op_case.h"
#include "kernels/long_conv/long_conv.h"

namespace recallbench {
namespace {

/// u [B, L, D], filter [taps, D]; the formula of long_conv.h, pair by pair.
std::vector<HostTensor> long_conv_reference(const HostTensor& u, const HostTensor& filter,
                                            LongConvWrap wrap) {
  const Index length = u.shape[1], channels = u.shape[2], rows = u.shape[0] * length;
  const Index taps = std::min(filter.shape[0], wrap == LongConvWrap::none ? length : 2 * length);
  HostTensor y{u.shape, std::vector<double>(u.data.size(), 0.0)};
  for (Index row = 0; row < rows; ++row)
    for (Index s = 0; s < length; ++s) {
      const Index j = (row % length - s + 2 * length) % (2 * length);
      if (j >= taps) continue;
      for (Index c = 0; c < channels; ++c)
        y.data[static_cast<std::size_t>(row * channels + c)] +=
            filter.data[static_cast<std::size_t>(j * channels + c)] *
            u.data[static_cast<std::size_t>((row - row % length + s) * channels + c)];
    }
  return {y};
}

/// Columns at an odd address, read twice: their gradient and the filter's are added up.
void append_sliced_case(std::vector<OpCase>& cases) {
  constexpr Index kExamples = 9, kLength = 70, kChannels = 8;
  OpCase c;
  c.name = "long_conv/sliced,twice";
  c.inputs = {{kExamples, kLength, kChannels + 1}, {kLength, kChannels}};
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    const Tensor u = t[0].columns(1, kChannels);
    return std::vector<Tensor>{long_conv(g, u, t[1]), long_conv(g, u, t[1])};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor u{{kExamples, kLength, kChannels}, {}};
    for (std::size_t i = 0; i < t[0].data.size(); ++i)
      if (i % (kChannels + 1) != 0) u.data.push_back(t[0].data[i]);
    const HostTensor y = long_conv_reference(u, t[1], LongConvWrap::none)[0];
    return std::vector<HostTensor>{y, y};
  };
  cases.push_back(c);
}

}  // namespace

void append_long_conv_cases(std::vector<OpCase>& cases) {
  struct Size {
    Index examples, length, channels, taps;
    LongConvWrap wrap;
    bool timed;
  };
  for (const Size& s :
       {Size{2, 7, 5, 7, LongConvWrap::none, false},
        Size{1, 1, 1, 1, LongConvWrap::none, false},
        Size{3, 6, 33, 4, LongConvWrap::none, false},     // shorter than L
        Size{18, 5, 3, 9, LongConvWrap::none, false},     // longer than L
        Size{3, 6, 4, 9, LongConvWrap::circular, false},  // wraps around
        Size{2, 5, 3, 30, LongConvWrap::circular, false},
        Size{17, 41, 35, 41, LongConvWrap::none, false},  // several tiles and blocks of examples
        Size{2, 19, 34, 38, LongConvWrap::circular, false},
        Size{9, 64, 8, 64, LongConvWrap::none, false},      // chunks of 64 times, quads of channels
        Size{18, 130, 12, 130, LongConvWrap::none, false},  // and more than them
        Size{5, 193, 9, 64, LongConvWrap::none, false},     // a filter that reaches a chunk back
        Size{3, 256, 16, 256, LongConvWrap::none, false},
        Size{154, 3, 112, 3, LongConvWrap::none, false},   // blocks of several groups of examples
        Size{150, 65, 36, 65, LongConvWrap::none, false},  // and, with replicas, of chunks
        Size{2, 321, 5, 300, LongConvWrap::none, false},
        Size{3, 400, 5, 70, LongConvWrap::none,
             false},  // a span of 256 times reads 2 chunks before
        Size{1, 600, 20, 600, LongConvWrap::none, false},
        Size{6, 257, 3, 200, LongConvWrap::none, false},    // FFT on a GPU
        Size{2, 1031, 2, 1031, LongConvWrap::none, false},  // FFT
        Size{2, 1026, 2, 1500, LongConvWrap::circular, false},
        Size{64, 256, 64, 256, LongConvWrap::none, true},
        Size{256, 64, 64, 64, LongConvWrap::none, true},
        Size{32, 512, 64, 512, LongConvWrap::none, true},
        Size{16, 1024, 64, 1024, LongConvWrap::none, true},
        Size{4, 4096, 64, 4096, LongConvWrap::none, true},
        Size{2, 8192, 64, 8192, LongConvWrap::none, true}}) {
    OpCase c;
    c.name = fmt::format("long_conv/B={},L={},D={},taps={}{}", s.examples, s.length, s.channels,
                         s.taps, s.wrap == LongConvWrap::none ? "" : ",circular");
    c.inputs = {{s.examples, s.length, s.channels}, {s.taps, s.channels}};
    c.build = [s](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{long_conv(g, t[0], t[1], s.wrap)};
    };
    c.reference = [s](const std::vector<HostTensor>& t, const HostBatch&) {
      return long_conv_reference(t[0], t[1], s.wrap);
    };
    c.tested = !s.timed;
    c.flops = s.timed ? static_cast<double>(s.examples * s.length * s.length * s.channels) : 0;
    cases.push_back(c);
  }
  append_sliced_case(cases);
}

}  // namespace recallbench
