#include <cmath>

#include "kernels/elementwise/reference.h"
#include "kernels/generalized_delta_rule/generalized_delta_rule.h"
#include "kernels/generalized_delta_rule/reference.h"
#include "kernels/rwkv7_keys/rwkv7_keys.h"
#include "kernels/sigmoid_decay/reference.h"
#include "kernels/sigmoid_decay/sigmoid_decay.h"

namespace recallbench {
namespace {

/// Keys and values of one head; `divisor` of the decays' logarithms.
struct Sizes {
  Index examples, length, heads, keys, values;
  double divisor;
};

/// Inputs as the mixer has them: removals of length 1, rates and decays between 0 and 1.
OpCase make_case(const Sizes& s, bool timed) {
  OpCase c;
  c.name = fmt::format("generalized_delta_rule/B={},L={},H={},K={},V={},divisor={}", s.examples,
                       s.length, s.heads, s.keys, s.values, s.divisor);
  const std::vector<Index> keys = {s.examples, s.length, s.heads * s.keys};
  c.inputs = {keys,
              keys,
              {s.examples, s.length, s.heads * s.values},
              keys,
              keys,
              keys,
              {1, s.heads * s.keys}};
  const SigmoidDecayOptions gate{.divisor = s.divisor};
  c.build = [=](Graph& g, const std::vector<Tensor>& t) {
    const Rwkv7Keys made = rwkv7_keys(g, {t[4], t[5], t[6], t[6]}, s.heads);
    return std::vector<Tensor>{generalized_delta_rule(
        g, {t[0], t[1], t[2], sigmoid_decay(g, t[3], gate), made.removal, made.rate}, s.heads)};
  };
  c.reference = [=](std::vector<HostTensor> t, const HostBatch&) {
    for (double& x : t[3].data)
      x = sigmoid_decay_reference(x, gate);
    for (double& x : t[5].data)
      x = activation_reference(Activation::sigmoid, x);
    const Index cols = s.heads * s.keys;
    for (Index first = 0; first < t[4].size(); first += s.keys) {
      double squares = 1e-6;
      for (Index i = first; i < first + s.keys; ++i) {
        t[4].data[static_cast<std::size_t>(i)] *= t[6].data[static_cast<std::size_t>(i % cols)];
        squares += std::pow(t[4].data[static_cast<std::size_t>(i)], 2);
      }
      for (Index i = first; i < first + s.keys; ++i)
        t[4].data[static_cast<std::size_t>(i)] /= std::sqrt(squares);
    }
    return generalized_delta_rule_reference(t, s.heads);
  };
  c.tested = !timed;
  // Each number of a state fades, is read for the removal and by the query, and takes two products.
  if (timed)
    c.flops = 9.0 * static_cast<double>(s.examples * s.length * s.heads * s.keys * s.values);
  return c;
}

}  // namespace

void append_generalized_delta_rule_cases(std::vector<OpCase>& cases) {
  for (const Sizes& s : {
           Sizes{1, 1, 1, 1, 1, 16}, Sizes{2, 7, 3, 2, 5, 1},
           Sizes{3, 17, 2, 5, 3, 16},     // one token beyond a chunk
           Sizes{1, 100, 2, 20, 17, 16},  // more keys than a vector
           Sizes{1, 65, 1, 3, 4, 0.02},   // decays that underflow within a chunk
           Sizes{2, 32, 2, 64, 64, 4},    // the usual head, two whole chunks
           Sizes{1, 41, 1, 64, 64, 0.1},  // that with a part of a chunk and strong decays
           Sizes{1, 33, 1, 36, 100, 1},   // pieces of four numbers, more values than a block has
           Sizes{1, 18, 1, 130, 70, 4},   // more keys than a block has
           Sizes{1, 17, 1, 10, 150, 4},   // few keys, many values
           Sizes{90, 5, 2, 34, 12, 4},    // in a population: shared by fewer threads of a GPU
       })
    cases.push_back(make_case(s, false));
  for (const Index length : {64, 256, 1024, 4096, 8192})
    cases.push_back(make_case({64 * 256 / length, length, 2, 64, 64, 4.0}, true));
}

}  // namespace recallbench
