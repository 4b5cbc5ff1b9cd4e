#include "kernels/selective_scan/reference.h"

#include <cmath>

namespace recallbench {
namespace {

double softplus(double x) {
  return x > 20 ? x : std::log1p(std::exp(x));
}

/// The case's inputs by index.
struct Inputs {
  explicit Inputs(const std::vector<HostTensor>& t)
      : t_(t),
        examples(t[0].shape[0]),
        length(t[0].shape[1]),
        channels(t[0].shape[2]),
        states(t[2].shape[1]) {}

  double x(Index row, Index c) const { return at(0, row * channels + c); }
  double delta(Index row, Index c) const { return softplus(at(1, row * channels + c)); }
  double a(Index c, Index n) const { return -std::exp(at(2, c * states + n)); }
  double b(Index row, Index n) const { return at(3, row * states + n); }
  double c(Index row, Index n) const { return at(4, row * states + n); }
  double d(Index c) const { return at(5, c); }

 private:
  double at(std::size_t input, Index i) const {
    return t_[input].data[static_cast<std::size_t>(i)];
  }
  const std::vector<HostTensor>& t_;

 public:
  Index examples, length, channels, states;
};

}  // namespace

std::vector<HostTensor> selective_scan_reference(const std::vector<HostTensor>& inputs) {
  const Inputs in(inputs);
  HostTensor y{inputs[0].shape, {}};
  for (Index e = 0; e < in.examples; ++e) {
    std::vector<double> h(static_cast<std::size_t>(in.channels * in.states), 0.0);
    for (Index row = e * in.length; row < (e + 1) * in.length; ++row) {
      for (Index c = 0; c < in.channels; ++c) {
        double sum = in.d(c) * in.x(row, c);
        for (Index n = 0; n < in.states; ++n) {
          double& state = h[static_cast<std::size_t>(c * in.states + n)];
          state = std::exp(in.delta(row, c) * in.a(c, n)) * state +
                  in.delta(row, c) * in.b(row, n) * in.x(row, c);
          sum += in.c(row, n) * state;
        }
        y.data.push_back(sum);
      }
    }
  }
  return {y};
}

std::vector<HostTensor> selective_scan_sum_reference(const std::vector<HostTensor>& inputs) {
  const Inputs in(inputs);
  HostTensor y{inputs[0].shape, {}};
  for (Index row = 0; row < in.examples * in.length; ++row) {
    for (Index c = 0; c < in.channels; ++c) {
      double sum = in.d(c) * in.x(row, c);
      double since = 0;  // σ_t - σ_s
      for (Index s = row; s >= row - row % in.length; --s) {
        double weight = 0;
        for (Index n = 0; n < in.states; ++n)
          weight += in.c(row, n) * in.b(s, n) * std::exp(in.a(c, n) * since);
        sum += in.delta(s, c) * in.x(s, c) * weight;
        since += in.delta(s, c);
      }
      y.data.push_back(sum);
    }
  }
  return {y};
}

}  // namespace recallbench
