#include "kernels/l2_norm/reference.h"

#include <cmath>

namespace recallbench {
namespace {

template <class Length>
HostTensor divide(const HostTensor& x, Index heads, const Length& length) {
  const auto width = static_cast<std::size_t>(x.shape.back() / heads);
  HostTensor y = x;
  for (std::size_t first = 0; first < y.data.size(); first += width) {
    const double by = length(x.data.data() + first, width);
    for (std::size_t j = first; j < first + width; ++j)
      y.data[j] /= by;
  }
  return y;
}

}  // namespace

HostTensor l2_norm_reference(const HostTensor& x, Index heads, double eps) {
  return divide(x, heads, [eps](const double* row, std::size_t width) {
    double sum = eps;
    for (std::size_t j = 0; j < width; ++j)
      sum += row[j] * row[j];
    return std::sqrt(sum);
  });
}

HostTensor sum_norm_reference(const HostTensor& x, Index heads) {
  return divide(x, heads, [](const double* row, std::size_t width) {
    double sum = 0;
    for (std::size_t j = 0; j < width; ++j)
      sum += row[j];
    return sum;
  });
}

}  // namespace recallbench
