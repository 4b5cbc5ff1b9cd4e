#include "kernels/ttt/reference.h"

#include <algorithm>
#include <cmath>

namespace recallbench {
namespace {

using Numbers = std::vector<double>;

std::size_t at(Index i) {
  return static_cast<std::size_t>(i);
}

/// One head's inner model, W [in, out] and b [out] of each layer.
struct Model {
  std::vector<Numbers> w, b;
};

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double gelu_slope(double x) {
  const double tanh = std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + tanh) +
         0.5 * x * (1 - tanh * tanh) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

Numbers layer(const Numbers& w, const Numbers& b, const Numbers& x) {
  Numbers z = b;
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < z.size(); ++j)
      z[j] += x[i] * w[i * z.size() + j];
  return z;
}

/// ẑ, and 1 / √(var + eps) in `inverse`.
Numbers normalised(const Numbers& z, double& inverse) {
  const double n = static_cast<double>(z.size());
  double mean = 0, var = 0;
  for (const double x : z)
    mean += x / n;
  for (const double x : z)
    var += (x - mean) * (x - mean) / n;
  inverse = 1 / std::sqrt(var + 1e-6);
  Numbers y;
  for (const double x : z)
    y.push_back((x - mean) * inverse);
  return y;
}

struct Head {
  Numbers norm, norm_bias;

  Numbers answer(const Model& m, const Numbers& q) const {
    Numbers x = layer(m.w[0], m.b[0], q);
    if (m.w.size() > 1) {
      std::transform(x.begin(), x.end(), x.begin(), gelu);
      x = layer(m.w[1], m.b[1], x);
    }
    double inverse;
    x = normalised(x, inverse);
    for (std::size_t j = 0; j < x.size(); ++j)
      x[j] = q[j] + norm[j] * x[j] + norm_bias[j];
    return x;
  }

  /// sum += rate · ∇½|LN(F(k)) - (v - k)|² at the weights m.
  void add_gradient(const Model& m, const Numbers& k, const Numbers& v, double rate,
                    Model& sum) const {
    const Numbers z = layer(m.w[0], m.b[0], k);
    Numbers hidden = z, top = z;
    if (m.w.size() > 1) {
      std::transform(z.begin(), z.end(), hidden.begin(), gelu);
      top = layer(m.w[1], m.b[1], hidden);
    }
    double inverse;
    const Numbers y = normalised(top, inverse);
    const double n = static_cast<double>(y.size());
    Numbers r, g;
    double mean = 0, along = 0;
    for (std::size_t j = 0; j < y.size(); ++j) {
      r.push_back((norm[j] * y[j] + norm_bias[j] - (v[j] - k[j])) * norm[j]);
      mean += r[j] / n;
      along += r[j] * y[j] / n;
    }
    for (std::size_t j = 0; j < y.size(); ++j)
      g.push_back(rate * inverse * (r[j] - mean - y[j] * along));
    if (m.w.size() > 1) {
      Numbers back(hidden.size());
      for (std::size_t i = 0; i < hidden.size(); ++i)
        for (std::size_t j = 0; j < g.size(); ++j) {
          back[i] += m.w[1][i * g.size() + j] * g[j] * gelu_slope(z[i]);
          sum.w[1][i * g.size() + j] += hidden[i] * g[j];
        }
      for (std::size_t j = 0; j < g.size(); ++j)
        sum.b[1][j] += g[j];
      g = back;
    }
    for (std::size_t i = 0; i < k.size(); ++i)
      for (std::size_t j = 0; j < g.size(); ++j)
        sum.w[0][i * g.size() + j] += k[i] * g[j];
    for (std::size_t j = 0; j < g.size(); ++j)
      sum.b[0][j] += g[j];
  }
};

/// a - factor · b.
Model moved(const Model& a, double factor, const Model& b) {
  Model m = a;
  for (std::size_t l = 0; l < m.w.size(); ++l) {
    for (std::size_t i = 0; i < m.w[l].size(); ++i)
      m.w[l][i] -= factor * b.w[l][i];
    for (std::size_t i = 0; i < m.b[l].size(); ++i)
      m.b[l][i] -= factor * b.b[l][i];
  }
  return m;
}

/// Head h's share of a parameter of `heads` heads.
Numbers share(const HostTensor& t, Index h, Index heads) {
  const auto n = static_cast<std::ptrdiff_t>(t.size() / heads);
  return Numbers(t.data.begin() + h * n, t.data.begin() + (h + 1) * n);
}

}  // namespace

std::vector<HostTensor> ttt_reference(const std::vector<HostTensor>& t, double scale) {
  const Index heads = t[3].shape[2], f = t[0].shape[2] / heads, length = t[0].shape[1];
  const Index mini_batch = t[4].size();
  HostTensor o = t[0];
  for (Index b = 0; b < t[0].shape[0]; ++b)
    for (Index h = 0; h < heads; ++h) {
      const Head head{share(t[5], h, heads), share(t[6], h, heads)};
      Model start, zero;
      for (std::size_t l = 7; l < t.size(); l += 2) {
        start.w.push_back(share(t[l], h, heads));
        start.b.push_back(share(t[l + 1], h, heads));
      }
      zero = moved(start, 1, start);
      Model sum = zero;
      for (Index i = 0; i < length; ++i) {
        const Index row = b * length + i, place = i % mini_batch;
        const auto token = [&](const HostTensor& x) {
          const auto from = x.data.begin() + row * heads * f + h * f;
          return Numbers(from, from + f);
        };
        head.add_gradient(start, token(t[1]), token(t[2]), scale * t[3].data[at(row * heads + h)],
                          sum);
        const double tau = std::max(1 / static_cast<double>(place + 1) + t[4].data[at(place)], 0.0);
        const Model now = moved(start, tau, sum);
        const Numbers y = head.answer(now, token(t[0]));
        std::copy(y.begin(), y.end(), o.data.begin() + row * heads * f + h * f);
        if (place + 1 == mini_batch) {
          start = now;
          sum = zero;
        }
      }
    }
  return {o};
}

}  // namespace recallbench
