#include "kernels/selective_scan/reference.h"
#include "kernels/selective_scan/selective_scan.h"

namespace recallbench {
namespace {

/// b and c lie in one tensor of `extra` further columns, as x_proj gives them.
struct Size {
  Index examples, length, channels, states, extra;
  double scale;
  bool as_sum, timed;
};

std::vector<HostTensor> without_extra(const Size& s, const std::vector<HostTensor>& t) {
  const Index stride = s.extra + 2 * s.states;
  HostTensor b{{s.examples, s.length, s.states}, {}}, c = b;
  for (Index row = 0; row < s.examples * s.length; ++row) {
    const auto first = t[3].data.begin() + row * stride + s.extra;
    b.data.insert(b.data.end(), first, first + s.states);
    c.data.insert(c.data.end(), first + s.states, first + 2 * s.states);
  }
  return {t[0], t[1], t[2], b, c, t[4]};
}

}  // namespace

void append_selective_scan_cases(std::vector<OpCase>& cases) {
  for (const Size& s :
       {Size{2, 7, 5, 3, 2, 1, false, false}, Size{1, 1, 1, 1, 0, 1, false, false},
        Size{3, 33, 32, 4, 1, 1, true, false},     // one token beyond a chunk
        Size{2, 70, 37, 9, 0, 1, false, false},    // states that fill no lane evenly
        Size{1, 37, 70, 8, 3, 1, false, false},    // two blocks of channels on a GPU
        Size{2, 33, 130, 16, 0, 1, false, false},  // three
        Size{1, 64, 3, 16, 3, 4, true, false},     // decays to 0
        Size{2, 40, 5, 3, 0, 12, false, false},    // softplus above 20
        Size{2, 65, 40, 24, 2, 1, false, false},   // whole chunks and a token
        Size{2, 35, 4, 37, 0, 1, false, false},    // more states than one launch on a GPU takes
        Size{64, 256, 128, 16, 4, 1, false, true}, Size{64, 256, 128, 8, 4, 1, false, true},
        Size{256, 64, 128, 16, 4, 1, false, true}, Size{16, 1024, 128, 16, 4, 1, false, true},
        Size{4, 4096, 128, 16, 4, 1, false, true}, Size{2, 8192, 128, 16, 4, 1, false, true}}) {
    OpCase c;
    c.name = fmt::format("selective_scan/B={},L={},C={},N={},scale={}", s.examples, s.length,
                         s.channels, s.states, s.scale);
    c.inputs = {{s.examples, s.length, s.channels},
                {s.examples, s.length, s.channels},
                {s.channels, s.states},
                {s.examples, s.length, s.extra + 2 * s.states},
                {1, s.channels}};
    c.scale = s.scale;
    c.build = [s](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{
          selective_scan(g, {t[0], t[1], t[2], t[3].columns(s.extra, s.states),
                             t[3].columns(s.extra + s.states, s.states), t[4]})};
    };
    c.reference = [s](const std::vector<HostTensor>& t, const HostBatch&) {
      return s.as_sum ? selective_scan_sum_reference(without_extra(s, t))
                      : selective_scan_reference(without_extra(s, t));
    };
    c.tested = !s.timed;
    // Δ A, exp, two of the decay, one of the input, two of the output.
    if (s.timed) c.flops = 7.0 * static_cast<double>(s.examples * s.length * s.channels * s.states);
    cases.push_back(c);
  }
}

}  // namespace recallbench
