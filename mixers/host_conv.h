#pragma once

#include <algorithm>
#include <span>
#include <vector>

namespace recallbench {

/// One token of a depthwise causal convolution of width K: y[c] = bias[c] + Σ_j weight[c, j] x[c]
/// of K - 1 - j tokens ago. weight [C, K] row-major; bias [C] or empty; `window` [K - 1, C] holds
/// the inputs before this one, oldest first, and moves on by one.
inline std::vector<double> host_causal_conv(std::span<const double> x,
                                            std::span<const double> weight,
                                            std::span<const double> bias,
                                            std::span<double> window) {
  const std::size_t channels = x.size(), taps = weight.size() / channels;
  std::vector<double> y(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    y[c] = (bias.empty() ? 0 : bias[c]) + weight[c * taps + taps - 1] * x[c];
    for (std::size_t j = 0; j + 1 < taps; ++j)
      y[c] += weight[c * taps + j] * window[j * channels + c];
  }
  if (taps > 1) {
    std::copy(window.begin() + static_cast<std::ptrdiff_t>(channels), window.end(), window.begin());
    std::copy(x.begin(), x.end(), window.end() - static_cast<std::ptrdiff_t>(channels));
  }
  return y;
}

}  // namespace recallbench
