#include <cmath>

#include "kernels/graph/op_case.h"
#include "kernels/rwkv7_keys/rwkv7_keys.h"

namespace recallbench {
namespace {

std::vector<HostTensor> rwkv7_keys_reference(const std::vector<HostTensor>& t, Index heads) {
  const Index cols = t[0].shape[1], n = cols / heads;
  HostTensor removal{t[0].shape, {}}, replacement = removal, rate = removal;
  const auto z = [&](Index i) {
    return t[0].data[static_cast<std::size_t>(i)] * t[2].data[static_cast<std::size_t>(i % cols)];
  };
  for (Index i = 0; i < t[0].size(); ++i) {
    double squares = 1e-6;
    for (Index c = i - i % n; c < i - i % n + n; ++c)
      squares += z(c) * z(c);
    removal.data.push_back(z(i) / std::sqrt(squares));
    const double k = t[0].data[static_cast<std::size_t>(i)];
    const double a = 1 / (1 + std::exp(-t[1].data[static_cast<std::size_t>(i)]));
    rate.data.push_back(a);
    replacement.data.push_back(k *
                               (1 + (a - 1) * t.back().data[static_cast<std::size_t>(i % cols)]));
  }
  return {removal, replacement, rate};
}

}  // namespace

void append_rwkv7_keys_cases(std::vector<OpCase>& cases) {
  struct Sizes {
    Index rows, heads, numbers;
    bool timed = false, shared = false;  // shared: k_k is k_a
  };
  for (const Sizes& s : {Sizes{1, 1, 2}, Sizes{5, 3, 7}, Sizes{1025, 2, 4},  // two blocks
                         Sizes{70, 2, 64}, Sizes{3, 1, 96}, Sizes{5, 2, 150}, Sizes{5, 1, 260},
                         Sizes{33, 2, 36, false, true}, Sizes{16384, 2, 64, true}}) {
    OpCase c;
    c.name = fmt::format("rwkv7_keys/rows={},H={},n={}{}", s.rows, s.heads, s.numbers,
                         s.shared ? ",k_k=k_a" : "");
    const Index cols = s.heads * s.numbers;
    c.inputs = {{s.rows, cols}, {s.rows, cols}, {1, cols}};
    if (!s.shared) c.inputs.push_back({1, cols});
    c.build = [s](Graph& g, const std::vector<Tensor>& t) {
      const Rwkv7Keys keys = rwkv7_keys(g, {t[0], t[1], t[2], t.back()}, s.heads);
      return std::vector<Tensor>{keys.removal, keys.replacement, keys.rate};
    };
    c.reference = [s](const std::vector<HostTensor>& t, const HostBatch&) {
      return rwkv7_keys_reference(t, s.heads);
    };
    c.tested = !s.timed;
    if (s.timed) c.flops = 12.0 * static_cast<double>(s.rows * s.heads * s.numbers);
    cases.push_back(c);
  }
}

}  // namespace recallbench
