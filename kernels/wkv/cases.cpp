#include <cmath>

#include "kernels/graph/op_case.h"
#include "kernels/wkv/wkv.h"

namespace recallbench {
namespace {

/// The sums of wkv.h, term by term, relative to their largest exponent.
std::vector<HostTensor> wkv_reference(const std::vector<HostTensor>& t) {
  const Index length = t[0].shape[1], channels = t[0].shape[2];
  HostTensor y{t[0].shape, {}};
  for (Index i = 0; i < t[0].size(); ++i) {
    const Index c = i % channels, now = i / channels % length;
    const double w = -std::exp(t[2].data[static_cast<std::size_t>(c)]);
    const double own =
        t[3].data[static_cast<std::size_t>(c)] + t[0].data[static_cast<std::size_t>(i)];
    double largest = own;
    const auto exponent = [&](Index ago) {  // ago = t - i
      return static_cast<double>(ago - 1) * w +
             t[0].data[static_cast<std::size_t>(i - ago * channels)];
    };
    for (Index ago = 1; ago <= now; ++ago)
      largest = std::max(largest, exponent(ago));
    double sum = std::exp(own - largest), weighted = sum * t[1].data[static_cast<std::size_t>(i)];
    for (Index ago = 1; ago <= now; ++ago) {
      const double weight = std::exp(exponent(ago) - largest);
      sum += weight;
      weighted += weight * t[1].data[static_cast<std::size_t>(i - ago * channels)];
    }
    y.data.push_back(weighted / sum);
  }
  return {y};
}

/// k and v side by side in one tensor, behind a column of something else.
void append_sliced_case(std::vector<OpCase>& cases) {
  constexpr Index kExamples = 2, kLength = 19, kChannels = 6, kCols = 2 * kChannels + 1;
  OpCase c;
  c.name = "wkv/sliced";
  c.inputs = {{kExamples, kLength, kCols}, {1, kChannels}, {1, kChannels}};
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{
        wkv(g, {t[0].columns(1, kChannels), t[0].columns(1 + kChannels, kChannels), t[1], t[2]})};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor k{{kExamples, kLength, kChannels}, {}}, v = k;
    for (Index i = 0; i < t[0].size(); ++i)
      if (i % kCols > 0)
        (i % kCols <= kChannels ? k : v).data.push_back(t[0].data[static_cast<std::size_t>(i)]);
    return wkv_reference({k, v, t[1], t[2]});
  };
  cases.push_back(c);
}

}  // namespace

void append_wkv_cases(std::vector<OpCase>& cases) {
  struct Sizes {
    Index examples, length, channels;
    double scale;
    bool timed;
  };
  for (const Sizes& s :
       {Sizes{1, 1, 1, 1, false}, Sizes{2, 9, 5, 1, false}, Sizes{3, 40, 35, 1, false},
        Sizes{2, 5, 140, 1, false},  // two blocks
        Sizes{2, 32, 6, 1, false},
        Sizes{1, 70, 3, 4, false},  // keys whose exponentials overflow no sum, decays of e^-50
        Sizes{64, 256, 128, 1, true}, Sizes{16, 1024, 128, 1, true}, Sizes{4, 4096, 128, 1, true},
        Sizes{256, 64, 128, 1, true}, Sizes{2, 8192, 128, 1, true}}) {
    OpCase c;
    c.name = fmt::format("wkv/B={},L={},C={},scale={}", s.examples, s.length, s.channels, s.scale);
    c.inputs = {{s.examples, s.length, s.channels},
                {s.examples, s.length, s.channels},
                {1, s.channels},
                {1, s.channels}};
    c.scale = s.scale;
    c.build = [](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{wkv(g, {t[0], t[1], t[2], t[3]})};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
      return wkv_reference(t);
    };
    c.tested = !s.timed;
    // Two exponentials, the sums (6), their reading (5).
    if (s.timed) c.flops = 13.0 * static_cast<double>(s.examples * s.length * s.channels);
    cases.push_back(c);
  }
  append_sliced_case(cases);
}

}  // namespace recallbench
