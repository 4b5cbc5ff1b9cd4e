#pragma once

#include <bit>
#include <cstdint>

namespace recallbench {

/// What exp2_of_nonpositive needs of a type: 2^f = 1 + f (c0 + f (c1 + ...)) for |f| <= 1/2.
template <class T>
struct Exp2;

/// Fitted with the least largest error, 2e-9, and exact at 0, so that slow decays do not drift.
template <>
struct Exp2<float> {
  using Bits = std::uint32_t;
  static constexpr float kSmallest = -126, kShift = 12582912 + 127;  // 1.5 * 2^23, the bias
  static constexpr int kMantissa = 23;
  static constexpr float kTerms[] = {0.6931472029f,   0.2402264791f,   0.05550332471f,
                                     0.009618437358f, 0.001339887442f, 0.000153533619f};
};

/// The Taylor series, cut below 1e-17.
template <>
struct Exp2<double> {
  using Bits = std::uint64_t;
  static constexpr double kSmallest = -1022, kShift = 6755399441055744 + 1023;  // 1.5 * 2^52
  static constexpr int kMantissa = 52;
  static constexpr double kTerms[] = {
      6.93147180559945286e-01, 2.40226506959100722e-01, 5.55041086648215831e-02,
      9.61812910762847688e-03, 1.33335581464284433e-03, 1.54035303933816088e-04,
      1.52527338040598411e-05, 1.32154867901443095e-06, 1.01780860092396999e-07,
      7.05491162080112336e-09, 4.44553827187081162e-10, 2.56784359934882055e-11,
      1.36914888539041281e-12};
};

/// 2^x for x <= 0, and the smallest normal number where that is less; NaN stays NaN. Without
/// branches or calls, so that loops over it vectorise, which those over std::exp do not.
template <class T>
inline T exp2_of_nonpositive(T x) {
  using E = Exp2<T>;
  constexpr int kCount = sizeof(E::kTerms) / sizeof(T);
  x = x < E::kSmallest ? E::kSmallest : x;
  const T shifted = x + E::kShift;  // its low bits are round(x) plus the exponent's bias
  const T f = x - (shifted - E::kShift);
  T sum = E::kTerms[kCount - 1];
#pragma GCC unroll 16
  for (int i = kCount - 2; i >= 0; --i)
    sum = sum * f + E::kTerms[i];
  sum = sum * f + T(1);
  return sum * std::bit_cast<T>(std::bit_cast<typename E::Bits>(shifted) << E::kMantissa);
}

}  // namespace recallbench
