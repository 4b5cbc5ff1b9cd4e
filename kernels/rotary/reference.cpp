#include "kernels/rotary/reference.h"

#include <cmath>
#include <complex>

namespace recallbench {

HostTensor rotary_reference(const HostTensor& x, Index heads, double base) {
  const Index length = x.shape[1], cols = x.shape[2], n = cols / heads;
  HostTensor y = x;
  for (Index row = 0; row < x.shape[0] * length; ++row)
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < n / 2; ++i) {
        const auto first = static_cast<std::size_t>(row * cols + h * n + i);
        const auto second = first + static_cast<std::size_t>(n / 2);
        const double rate = 1 / std::pow(base, static_cast<double>(2 * i) / static_cast<double>(n));
        const std::complex<double> turned =
            std::complex<double>(x.data[first], x.data[second]) *
            std::polar(1.0, static_cast<double>(row % length) * rate);
        y.data[first] = turned.real();
        y.data[second] = turned.imag();
      }
  return y;
}

}  // namespace recallbench
