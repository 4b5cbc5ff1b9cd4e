#include "kernels/ssd/reference.h"

#include <cmath>

namespace recallbench {
namespace {

/// The case's inputs by index; a row is a token of an example.
class Inputs {
 public:
  Inputs(const std::vector<HostTensor>& t, Index groups)
      : examples(t[0].shape[0]),
        length(t[0].shape[1]),
        heads(t[1].shape[2]),
        channels(t[0].shape[2] / heads),
        states(t[4].shape[2] / groups),
        t_(t),
        groups_(groups) {}

  double x(Index row, Index h, Index p) const { return at(0, (row * heads + h) * channels + p); }
  double delta(Index row, Index h) const {
    const double pre = at(1, row * heads + h) + at(2, h);
    return pre > 20 ? pre : std::log1p(std::exp(pre));
  }
  double log_a(Index row, Index h) const { return -std::exp(at(3, h)) * delta(row, h); }
  double b(Index row, Index h, Index n) const { return at(4, group(row, h) * states + n); }
  double c(Index row, Index h, Index n) const { return at(5, group(row, h) * states + n); }
  double d(Index h, Index p) const {
    return t_[6].size() == heads ? at(6, h) : at(6, h * channels + p);
  }

  Index examples, length, heads, channels, states;

 private:
  double at(std::size_t input, Index i) const {
    return t_[input].data[static_cast<std::size_t>(i)];
  }
  Index group(Index row, Index h) const { return row * groups_ + h / (heads / groups_); }

  const std::vector<HostTensor>& t_;
  Index groups_;
};

}  // namespace

std::vector<HostTensor> ssd_reference(const std::vector<HostTensor>& inputs, Index groups) {
  const Inputs in(inputs, groups);
  HostTensor y{inputs[0].shape, {}};
  for (Index e = 0; e < in.examples; ++e) {
    std::vector<double> s(static_cast<std::size_t>(in.heads * in.channels * in.states), 0.0);
    for (Index row = e * in.length; row < (e + 1) * in.length; ++row)
      for (Index h = 0; h < in.heads; ++h)
        for (Index p = 0; p < in.channels; ++p) {
          double sum = in.d(h, p) * in.x(row, h, p);
          for (Index n = 0; n < in.states; ++n) {
            double& state = s[static_cast<std::size_t>((h * in.channels + p) * in.states + n)];
            state = std::exp(in.log_a(row, h)) * state +
                    in.delta(row, h) * in.b(row, h, n) * in.x(row, h, p);
            sum += in.c(row, h, n) * state;
          }
          y.data.push_back(sum);
        }
  }
  return {y};
}

std::vector<HostTensor> ssd_attention_reference(const std::vector<HostTensor>& inputs,
                                                Index groups) {
  const Inputs in(inputs, groups);
  HostTensor y{inputs[0].shape, {}};
  for (Index row = 0; row < in.examples * in.length; ++row)
    for (Index h = 0; h < in.heads; ++h)
      for (Index p = 0; p < in.channels; ++p) {
        double sum = in.d(h, p) * in.x(row, h, p), since = 0;  // Σ ln a after s
        for (Index s = row; s >= row - row % in.length; --s) {
          double score = 0;
          for (Index n = 0; n < in.states; ++n)
            score += in.c(row, h, n) * in.b(s, h, n);
          sum += score * std::exp(since) * in.delta(s, h) * in.x(s, h, p);
          since += in.log_a(s, h);
        }
        y.data.push_back(sum);
      }
  return {y};
}

}  // namespace recallbench
