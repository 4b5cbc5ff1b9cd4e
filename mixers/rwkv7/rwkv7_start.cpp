#include "mixers/rwkv7/rwkv7_start.h"

#include <algorithm>
#include <cmath>

namespace recallbench {

Rwkv7Start::Rwkv7Start(const MixerContext& context, Index head_numbers)
    : zeros_(context.zoology),
      d_(context.d_model),
      head_(head_numbers),
      depth_(static_cast<double>(context.layer) / std::max(1, context.n_layers - 1)),
      height_(1 - static_cast<double>(context.layer) / context.n_layers),
      layer_share_(static_cast<double>(context.layer + 1) / context.n_layers) {}

/// values[i] = f(row, channel) of the i-th number, rows of D.
template <class F>
Initialise Rwkv7Start::by_channel(F f) const {
  if (zeros_) return constant(0);
  return [f, d = d_, head = head_](std::span<double> values, RandomStream&) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Index row = static_cast<Index>(i) / d, c = static_cast<Index>(i) % d;
      const double half = static_cast<double>(head - 1) / 2;
      const double z = half == 0 ? 0 : (static_cast<double>(c % head) - half) / half;
      const double last = static_cast<double>(std::max<Index>(1, d - 1));
      values[i] = f(row, Channel{static_cast<double>(c) / static_cast<double>(d),
                                 static_cast<double>(c) / last - 0.5, z * std::abs(z)});
    }
  };
}

/// Rows r, w, k, v, a, g: 1 - (c / D)^(power of the row · (1 - ℓ / n)).
Initialise Rwkv7Start::x_x() const {
  return by_channel([height = height_](Index row, const Channel& c) {
    constexpr double kPowers[] = {0.2, 0.9, 0.7, 0.7, 0.9, 0.2};
    return 1 - std::pow(c.share, kPowers[row] * height);
  });
}
Initialise Rwkv7Start::k_k() const {
  return by_channel([](Index, const Channel& c) { return 0.71 - 0.1 * c.centred; });
}
Initialise Rwkv7Start::k_a() const {
  return by_channel([](Index, const Channel&) { return 1.02; });
}
Initialise Rwkv7Start::r_k() const {
  return by_channel([](Index, const Channel&) { return -0.04; });
}
Initialise Rwkv7Start::decay_bias() const {
  return by_channel([depth = depth_](Index, const Channel& c) {
    return -6 + 6 * std::pow(c.centred + 0.5, 1 + std::pow(depth, 0.3)) + 0.5 + 2.5 * c.zigzag;
  });
}
Initialise Rwkv7Start::rate_bias() const {
  return by_channel(
      [](Index, const Channel& c) { return -0.19 + 0.3 * c.zigzag + 0.4 * c.centred; });
}
Initialise Rwkv7Start::norm_weight() const {
  return constant(zeros_ ? 1.0 : std::pow(layer_share_, 0.7));
}

}  // namespace recallbench
