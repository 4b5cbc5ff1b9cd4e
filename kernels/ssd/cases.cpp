#include "kernels/ssd/reference.h"
#include "kernels/ssd/ssd.h"

namespace recallbench {
namespace {

/// x, b and c lie in one tensor, as the convolution of a Mamba-2 layer gives them.
struct Size {
  Index examples, length, heads, head_dim, groups, states;
  bool skip_by_channel;
  double scale;
  bool as_attention, timed;
};

std::vector<HostTensor> split(const Size& s, const std::vector<HostTensor>& t) {
  const Index inner = s.heads * s.head_dim, tokens = s.groups * s.states;
  HostTensor x{{s.examples, s.length, inner}, {}}, b{{s.examples, s.length, tokens}, {}}, c = b;
  for (Index row = 0; row < s.examples * s.length; ++row) {
    const auto from = t[0].data.begin() + row * (inner + 2 * tokens);
    x.data.insert(x.data.end(), from, from + inner);
    b.data.insert(b.data.end(), from + inner, from + inner + tokens);
    c.data.insert(c.data.end(), from + inner + tokens, from + inner + 2 * tokens);
  }
  return {x, t[1], t[2], t[3], b, c, t[4]};
}

}  // namespace

void append_ssd_cases(std::vector<OpCase>& cases) {
  for (const Size& s : {Size{2, 7, 3, 5, 1, 4, false, 1, false, false},
                        Size{1, 1, 1, 1, 1, 1, false, 1, false, false},
                        Size{3, 33, 4, 3, 2, 5, true, 1, true, false},    // a token beyond a chunk
                        Size{2, 130, 2, 9, 1, 3, true, 1, false, false},  // several chunks
                        Size{1, 200, 2, 64, 1, 16, false, 1, false, false},  // whole quads
                        Size{1, 130, 2, 8, 1, 24, true, 1, false, false},
                        Size{1, 66, 2, 12, 1, 40, false, 1, false, false},
                        Size{40, 3, 2, 2, 2, 2, false, 1, false, false},   // more items than lanes
                        Size{1, 150, 2, 4, 1, 8, false, 3, true, false},   // decays to 0
                        Size{2, 40, 3, 4, 1, 5, false, 8, false, false},   // softplus above 20
                        Size{1, 34, 2, 9, 2, 20, true, 1, false, false},   // states, channels in
                        Size{1, 3, 2, 66, 1, 66, true, 1, false, false},   // tiles of 32, and of
                        Size{2, 3, 2, 66, 1, 66, false, 1, false, false},  // 64 and two more
                        Size{64, 256, 2, 64, 1, 16, false, 1, false, true},
                        Size{16, 1024, 2, 64, 1, 16, false, 1, false, true},
                        Size{4, 4096, 2, 64, 1, 16, false, 1, false, true},
                        Size{256, 64, 2, 64, 1, 16, false, 1, false, true},
                        Size{2, 8192, 2, 64, 1, 16, false, 1, false, true},
                        Size{64, 256, 8, 64, 1, 24, false, 1, false, true}}) {
    const Index inner = s.heads * s.head_dim, tokens = s.groups * s.states;
    OpCase c;
    c.name = fmt::format("ssd/B={},L={},H={},P={},G={},N={},scale={}", s.examples, s.length,
                         s.heads, s.head_dim, s.groups, s.states, s.scale);
    c.inputs = {{s.examples, s.length, inner + 2 * tokens},
                {s.examples, s.length, s.heads},
                {1, s.heads},
                {1, s.heads},
                {1, s.skip_by_channel ? inner : s.heads}};
    c.scale = s.scale;
    c.build = [s, inner, tokens](Graph& g, const std::vector<Tensor>& t) {
      const Tensor& xbc = t[0];
      return std::vector<Tensor>{
          ssd(g,
              {xbc.columns(0, inner), t[1], t[2], t[3], xbc.columns(inner, tokens),
               xbc.columns(inner + tokens, tokens), t[4]},
              s.groups)};
    };
    c.reference = [s](const std::vector<HostTensor>& t, const HostBatch&) {
      return s.as_attention ? ssd_attention_reference(split(s, t), s.groups)
                            : ssd_reference(split(s, t), s.groups);
    };
    c.tested = !s.timed;
    // Of the recurrence: decay, two of the input, two of the output.
    if (s.timed) c.flops = 5.0 * static_cast<double>(s.examples * s.length * inner * s.states);
    cases.push_back(c);
  }
}

}  // namespace recallbench
