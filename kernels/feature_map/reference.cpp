#include "kernels/feature_map/reference.h"

#include <algorithm>
#include <cmath>

namespace recallbench {
namespace {

constexpr double kHalfPi = 1.5707963267948966;

/// Element (row, col) of a tensor seen as a matrix of its last dimension.
double at(const HostTensor& x, Index row, Index col) {
  return x.data[static_cast<std::size_t>(row * x.shape.back() + col)];
}

Index rows(const HostTensor& x) {
  return x.size() / x.shape.back();
}

HostTensor with_cols(const HostTensor& x, Index cols) {
  HostTensor y{x.shape, {}};
  y.shape.back() = cols;
  return y;
}

}  // namespace

HostTensor elementwise_features_reference(const HostTensor& x, ElementwiseMap map,
                                          double temperature) {
  HostTensor y = x;
  for (double& number : y.data) {
    const double z = temperature * number;
    switch (map) {
      case ElementwiseMap::relu:
        number = std::max(std::max(z, 0.0), 1e-12);
        break;
      case ElementwiseMap::pos_elu:
        number = z > 0 ? z + 1 : std::exp(z);
        break;
      case ElementwiseMap::square:
        number = z * z;
        break;
    }
  }
  return y;
}

HostTensor cosformer_features_reference(const HostTensor& x, const HostBatch& batch,
                                        const CosformerOptions& options) {
  const Index cols = x.shape.back(), f = cols / options.heads, per_example = x.shape[1];
  HostTensor y = with_cols(x, 2 * cols);
  for (Index i = 0; i < rows(x); ++i) {
    const Index t =
        options.at_labels ? batch.positions[static_cast<std::size_t>(i)] : i % per_example;
    double angle = kHalfPi * static_cast<double>(t + 1);
    if (options.rounds_angles) angle = static_cast<float>(angle);
    angle /= static_cast<double>(options.horizon);
    for (Index h = 0; h < options.heads; ++h)
      for (const double turn : {std::sin(angle), std::cos(angle)})
        for (Index c = 0; c < f; ++c)
          y.data.push_back(std::max(at(x, i, h * f + c), 0.0) * turn);
  }
  return y;
}

HostTensor exponential_features_reference(const HostTensor& x, const HostTensor& projections,
                                          bool less_maximum) {
  const Index f = x.shape.back(), m = projections.shape.back();
  HostTensor y = with_cols(x, m);
  for (Index i = 0; i < rows(x); ++i) {
    double square = 0, largest = at(projections, i, 0);
    for (Index c = 0; c < f; ++c)
      square += at(x, i, c) * at(x, i, c);
    for (Index j = 0; j < m; ++j)
      largest = std::max(largest, at(projections, i, j));
    const double a = 1 / std::sqrt(std::sqrt(static_cast<double>(f)));
    for (Index j = 0; j < m; ++j) {
      const double p = at(projections, i, j);
      const double exponent = less_maximum ? a * (p - largest) : a * p - a * a * square / 2;
      y.data.push_back(std::exp(exponent) / std::sqrt(static_cast<double>(m)));
    }
  }
  return y;
}

HostTensor polynomial_features_reference(const HostTensor& a, const HostTensor& b) {
  HostTensor y = a;
  for (std::size_t i = 0; i < y.data.size(); ++i)
    y.data[i] = (a.data[i] * a.data[i] + b.data[i]) / std::sqrt(2.0);
  return y;
}

HostTensor softmax_features_reference(const HostTensor& x, double scale, bool jointly) {
  const Index f = x.shape.back();
  HostTensor y = with_cols(x, 2 * f);
  for (Index i = 0; i < rows(x); ++i) {
    double sums[2] = {0, 0};
    for (Index c = 0; c < f; ++c) {
      sums[0] += std::exp(scale * at(x, i, c));
      sums[1] += std::exp(-scale * at(x, i, c));
    }
    for (const int half : {0, 1})
      for (Index c = 0; c < f; ++c) {
        const double e = std::exp((half == 0 ? scale : -scale) * at(x, i, c));
        y.data.push_back(jointly ? e / (sums[0] + sums[1]) : std::max(e / sums[half], 1e-12));
      }
  }
  return y;
}

}  // namespace recallbench
