#include "tests/support/activations.h"

#include <cmath>
#include <limits>

namespace recallbench::testing {
namespace {

/// f(x), and x f(x) as a gate, for x [rows, cols].
OpCase activated(Activation f, Index rows, Index cols) {
  OpCase c;
  c.inputs = {{rows, cols}};
  c.build = [f](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{activate(g, f, t[0]), gate(g, t[0], f, t[0])};
  };
  return c;
}

}  // namespace

std::vector<Activation> all_activations() {
  return {Activation::silu,    Activation::gelu, Activation::relu,     Activation::softplus,
          Activation::sigmoid, Activation::tanh, Activation::gelu_tanh};
}

template <class T>
double error_of_small_softplus(Placement placement) {
  constexpr Index kRows = 8, kCols = 125;
  std::vector<double> x(kRows * kCols);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(-5 - 15 * static_cast<double>(i) / static_cast<double>(x.size()));
  const CaseResult found = run_case<T>(activated(Activation::softplus, kRows, kCols),
                                       {{{kRows, kCols}, x}}, 1, 0, true, placement);
  double worst = 0;
  const auto see = [&worst](double is, double expected, double size) {
    const double error = std::abs(is - expected) / size;
    if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double y = std::log1p(std::exp(x[i])), slope = 1 / (1 + std::exp(-x[i]));
    see(found.outputs[0][i], y, y);
    see(found.outputs[1][i], x[i] * y, -x[i] * y);
    // A sum of three terms, which may be next to zero.
    const auto at = static_cast<Index>(i);
    const double first = output_weight(0, at) * slope, second = output_weight(1, at) * y,
                 third = output_weight(1, at) * x[i] * slope;
    see(found.gradients[0][i], first + second + third,
        std::abs(first) + std::abs(second) + std::abs(third));
  }
  return worst;
}

template <class T>
bool keeps_nan(Activation f, Placement placement) {
  constexpr Index kCols = 37;
  bool keeps = true;
  for (std::size_t at = 0; at < kCols; ++at) {
    std::vector<double> x(kCols, 0.5);
    x[at] = std::numeric_limits<double>::quiet_NaN();
    const CaseResult found =
        run_case<T>(activated(f, 1, kCols), {{{1, kCols}, x}}, 1, 0, false, placement);
    for (const std::vector<double>& y : found.outputs)
      for (std::size_t i = 0; i < kCols; ++i)
        keeps = keeps && std::isnan(y[i]) == (i == at);
  }
  return keeps;
}

#define INSTANTIATE(T)                                   \
  template double error_of_small_softplus<T>(Placement); \
  template bool keeps_nan<T>(Activation, Placement);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench::testing
