#include "kernels/residual_norm/reference.h"

#include <cmath>

#include "kernels/base/philox.h"

namespace recallbench {
namespace {

/// r + dropout(h, p), one element at a time.
HostTensor stream_reference(const HostTensor& r, const HostTensor& h, double p,
                            std::uint32_t random_id) {
  HostTensor stream = r;
  for (std::size_t e = 0; e < r.data.size(); ++e) {
    const auto words = Philox{17}(static_cast<std::uint32_t>(e / 4), 3, random_id,
                                  static_cast<std::uint32_t>(Purpose::dropout));
    if (words[e % 4] < std::floor((1 - p) * 0x1p32)) stream.data[e] += h.data[e] / (1 - p);
  }
  return stream;
}

}  // namespace

std::vector<HostTensor> residual_norm_reference(const std::vector<HostTensor>& t, double p,
                                                std::uint32_t random_id, double eps) {
  const HostTensor stream = stream_reference(t[0], t[1], p, random_id);
  const bool centred = t.size() > 3;
  const std::size_t n = t[2].data.size();
  const double count = static_cast<double>(n);
  HostTensor y = stream;
  for (std::size_t first = 0; first < y.data.size(); first += n) {
    double mean = 0, square = 0;
    for (std::size_t j = first; centred && j < first + n; ++j)
      mean += stream.data[j] / count;
    for (std::size_t j = first; j < first + n; ++j)
      square += (stream.data[j] - mean) * (stream.data[j] - mean) / count;
    for (std::size_t j = 0; j < n; ++j)
      y.data[first + j] = (stream.data[first + j] - mean) / std::sqrt(square + eps) * t[2].data[j] +
                          (centred ? t[3].data[j] : 0);
  }
  return {stream, y};
}

}  // namespace recallbench
