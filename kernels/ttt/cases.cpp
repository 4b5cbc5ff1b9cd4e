#include "kernels/ttt/reference.h"
#include "kernels/ttt/ttt.h"

namespace recallbench {
namespace {

struct Size {
  Index examples, length, heads, head_dim, mini_batch, hidden;
  bool timed = false;
};

/// q, k and v are columns of one tensor.
std::vector<HostTensor> split(const std::vector<HostTensor>& t) {
  const Index d = t[0].shape[2] / 3;
  std::vector<HostTensor> parts;
  for (Index part = 0; part < 3; ++part) {
    HostTensor x{{t[0].shape[0], t[0].shape[1], d}, {}};
    for (Index row = 0; row < x.shape[0] * x.shape[1]; ++row) {
      const auto from = t[0].data.begin() + row * 3 * d + part * d;
      x.data.insert(x.data.end(), from, from + d);
    }
    parts.push_back(x);
  }
  parts.insert(parts.end(), t.begin() + 1, t.end());
  return parts;
}

/// Of the dual form, forward: Z, its gradient, A, Z̄ and the step of the weights.
double useful_operations(const Size& s) {
  const double weights =
      static_cast<double>(s.head_dim * (s.hidden > 0 ? 2 * s.hidden : s.head_dim));
  const double outs = static_cast<double>(s.hidden > 0 ? s.hidden + s.head_dim : s.head_dim);
  const double ins = static_cast<double>(s.hidden > 0 ? s.hidden + s.head_dim : s.head_dim);
  const double pairs = static_cast<double>(s.mini_batch + 1) / 2;
  return 2 * static_cast<double>(s.examples * s.length * s.heads) *
         (weights * (s.hidden > 0 ? 3.5 : 3) + pairs * (outs + ins));
}

}  // namespace

void append_ttt_cases(std::vector<OpCase>& cases) {
  for (const Size& s :
       {Size{2, 9, 2, 4, 4, 0}, Size{1, 1, 1, 3, 8, 0}, Size{3, 16, 1, 6, 8, 0},
        Size{2, 21, 2, 3, 1, 0}, Size{2, 11, 2, 4, 4, 12}, Size{1, 7, 3, 5, 16, 5},
        Size{40, 5, 1, 4, 2, 8},  // more items than lanes
        // Several tiles of rows, of columns; matrices and then models beyond a GPU's shared memory.
        Size{1, 70, 1, 33, 32, 0}, Size{2, 37, 2, 18, 16, 70}, Size{1, 150, 1, 4, 150, 0},
        Size{1, 20, 1, 48, 16, 192}, Size{1, 18, 1, 64, 16, 256}, Size{64, 256, 2, 32, 16, 0, true},
        Size{16, 1024, 2, 32, 16, 0, true}, Size{4, 4096, 2, 32, 16, 0, true},
        Size{256, 64, 2, 32, 16, 0, true}, Size{2, 8192, 2, 32, 16, 0, true},
        Size{64, 256, 2, 32, 16, 128, true}, Size{16, 1024, 2, 32, 16, 128, true},
        Size{4, 4096, 2, 32, 16, 128, true}}) {
    OpCase c;
    c.name = fmt::format("ttt/B={},L={},H={},f={},b={},m={}", s.examples, s.length, s.heads,
                         s.head_dim, s.mini_batch, s.hidden);
    const Index d = s.heads * s.head_dim, out = s.hidden > 0 ? s.hidden : s.head_dim;
    c.inputs = {{s.examples, s.length, 3 * d},
                {s.examples, s.length, s.heads},
                {1, s.mini_batch},
                {s.heads, s.head_dim},
                {s.heads, s.head_dim},
                {d, out},
                {s.heads, out}};
    if (s.hidden > 0) {
      c.inputs.push_back({s.heads * s.hidden, s.head_dim});
      c.inputs.push_back({s.heads, s.head_dim});
    }
    c.scale = 0.5;  // steps of the weights of more than 1 would not stay small
    c.build = [d](Graph& g, const std::vector<Tensor>& t) {
      TttInputs in{
          t[0].columns(0, d), t[0].columns(d, d), t[0].columns(2 * d, d), t[1], t[2], t[3], t[4],
          {t[5], t[6]},       std::nullopt};
      if (t.size() > 7) in.second = TttLayer{t[7], t[8]};
      return std::vector<Tensor>{ttt(g, in, 0.3)};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
      return ttt_reference(split(t), 0.3);
    };
    c.tested = !s.timed;
    if (s.timed) c.flops = useful_operations(s);
    cases.push_back(c);
  }
}

}  // namespace recallbench
