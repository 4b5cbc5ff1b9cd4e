#pragma once

#include <cmath>

namespace recallbench {

/// GELU by tanh, 0.5 x (1 + tanh(c (x + a x³))), and its first two derivatives.
template <class T>
struct TanhGelu {
  T x, tanh, slope;  // of the tanh's argument

  explicit TanhGelu(T value)
      : TanhGelu(value, std::tanh(kScale * (value + kCubic * value * value * value))) {}
  /// With that tanh, computed elsewhere.
  constexpr TanhGelu(T value, T of_argument)
      : x(value), tanh(of_argument), slope(kScale * (1 + 3 * kCubic * x * x)) {}
  constexpr T value() const { return T(0.5) * x * (1 + tanh); }
  constexpr T first() const { return T(0.5) * (1 + tanh) + T(0.5) * x * (1 - tanh * tanh) * slope; }
  constexpr T second() const {
    const T bend = 6 * kScale * kCubic * x;
    return (1 - tanh * tanh) * (slope + T(0.5) * x * (bend - 2 * tanh * slope * slope));
  }

  static constexpr T kScale = T(0.7978845608028654), kCubic = T(0.044715);  // √(2/π)
};

}  // namespace recallbench
