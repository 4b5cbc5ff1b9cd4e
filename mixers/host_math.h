#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "kernels/elementwise/elementwise.h"

namespace recallbench {

/// Plain loops in double that decoders are written with: one position, no tensor library.

/// A size as the standard library counts.
inline std::size_t to_size(Index i) {
  return static_cast<std::size_t>(i);
}

/// y[o] = Σ_j weight[o, j] x[j] + bias[o]; weight [out, x.size()] row-major, bias [out] or empty.
inline std::vector<double> host_linear(std::span<const double> x, std::span<const double> weight,
                                       std::span<const double> bias = {}) {
  const std::size_t in = x.size(), out = weight.size() / in;
  std::vector<double> y(out);
  for (std::size_t o = 0; o < out; ++o) {
    double sum = bias.empty() ? 0 : bias[o];
    for (std::size_t j = 0; j < in; ++j)
      sum += weight[o * in + j] * x[j];
    y[o] = sum;
  }
  return y;
}

inline double host_sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}
inline double host_silu(double x) {
  return x * host_sigmoid(x);
}
inline double host_gelu(double x) {
  return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
}
/// The form of GELU by tanh, and its derivative.
inline double host_gelu_tanh(double x) {
  const double scale = std::sqrt(2 / std::numbers::pi);
  return 0.5 * x * (1 + std::tanh(scale * (x + 0.044715 * x * x * x)));
}
inline double host_gelu_tanh_slope(double x) {
  const double scale = std::sqrt(2 / std::numbers::pi);
  const double tanh = std::tanh(scale * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * scale * (1 + 3 * 0.044715 * x * x);
}
inline double host_softplus(double x) {
  return x > 20 ? x : std::log1p(std::exp(x));
}
inline double host_activate(Activation f, double x) {
  switch (f) {
    case Activation::silu:
      return host_silu(x);
    case Activation::gelu:
      return host_gelu(x);
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::softplus:
      return host_softplus(x);
    case Activation::sigmoid:
      return host_sigmoid(x);
    case Activation::gelu_tanh:
      return host_gelu_tanh(x);
    case Activation::tanh:
      break;
  }
  return std::tanh(x);
}

/// Turns the pair (a, b) by `angle`, as rotary positions do.
inline void host_rotate(double& a, double& b, double angle) {
  const double x = a, y = b;
  a = x * std::cos(angle) - y * std::sin(angle);
  b = y * std::cos(angle) + x * std::sin(angle);
}

/// LayerNorm over x, or RMSNorm where `bias` is empty (no mean is subtracted then).
inline std::vector<double> host_norm(std::span<const double> x, std::span<const double> weight,
                                     std::span<const double> bias, double eps = 1e-5) {
  const double n = static_cast<double>(x.size());
  double mean = 0, square = 0;
  if (!bias.empty())
    for (const double v : x)
      mean += v / n;
  for (const double v : x)
    square += (v - mean) * (v - mean) / n;
  std::vector<double> y(x.size());
  for (std::size_t j = 0; j < x.size(); ++j)
    y[j] = (x[j] - mean) / std::sqrt(square + eps) * weight[j] + (bias.empty() ? 0 : bias[j]);
  return y;
}

}  // namespace recallbench
