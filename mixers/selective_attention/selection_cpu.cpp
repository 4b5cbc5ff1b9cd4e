#include "mixers/selective_attention/selection_cpu.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/tensor/parallel.h"
#include "mixers/selective_attention/largest_first.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 128;

template <class T>
void put(bool add, T& to, T value) {
  to = add ? to + value : value;
}

/// body(first row) of every sequence.
template <class Body>
void for_sequences(Index rows, Index length, const Body& body) {
  parallel_for(rows / length, [&](Index example) { body(example * length); });
}

template <class Body>
void for_rows(Index rows, const Body& body) {
  parallel_ranges(rows, kRowBlock, [&](Index first, Index count) {
    for (Index i = first; i < first + count; ++i)
      body(i);
  });
}

/// log(e^a + e^b); a NaN stays.
template <class T>
T log_add(T a, T b) {
  const T high = a > b ? a : b, low = a > b ? b : a;
  return high + std::log1p(std::exp(low - high));
}

/// Whether sequence b counts: one that only fills up a batch has no weights.
bool counts(const float* weights, Index labels, Index b) {
  return weights == nullptr || std::any_of(weights + b * labels, weights + (b + 1) * labels,
                                           [](float w) { return w > 0; });
}

double counted_tokens(Index rows, Index length, const float* weights, Index labels) {
  double tokens = 0;
  for (Index b = 0; b < rows / length; ++b)
    if (counts(weights, labels, b)) tokens += static_cast<double>(length);
  return std::max(tokens, 1.0);
}

}  // namespace

template <class T>
void position_softmax_cpu(const Matrix<T>& z, Index length, bool causal, const Matrix<T>& s) {
  for_sequences(z.rows, length, [&](Index first) {
    T sum = *z.row(first);  // logarithm of Σ e^z so far
    for (Index t = first; t < first + length; ++t) {
      if (t > first) sum = log_add(sum, *z.row(t));
      *s.row(t) = std::exp(*z.row(t) - sum);
    }
    if (causal) return;
    for (Index t = first; t < first + length; ++t)
      *s.row(t) = std::exp(*z.row(t) - sum);
  });
}

/// With l_t = log Σ_{j<=t} e^{z_j}: dz_j = s_j (ds_j - Σ_{t>=j} ds_t s_t e^{l_j - l_t}), where l_t
/// is that of the whole sequence, and t runs over all of it, unless causal.
template <class T>
void position_softmax_backward_cpu(const Matrix<T>& z, const Matrix<T>& s, const Matrix<T>& ds,
                                   Index length, bool causal, bool accumulate,
                                   const Matrix<T>& dz) {
  for_sequences(z.rows, length, [&](Index first) {
    T after = 0;
    if (!causal)
      for (Index t = first; t < first + length; ++t)
        after += *ds.row(t) * *s.row(t);
    for (Index t = first + length - 1; t >= first; --t) {
      if (causal) {
        // e^{l_t - l_{t+1}} = 1 - s_{t+1}, the share that the tokens before t + 1 had there.
        const T step = t + 1 < first + length ? 1 - *s.row(t + 1) : T(0);
        after = *ds.row(t) * *s.row(t) + step * after;
      }
      put(accumulate, *dz.row(t), *s.row(t) * (*ds.row(t) - after));
    }
  });
}

template <class T>
void tempered_gate_cpu(const Matrix<T>& z, T temperature, const Matrix<T>& s) {
  for_rows(z.rows, [&](Index i) {
    *s.row(i) = 1 / (1 + std::exp((z.row(i)[0] - z.row(i)[1]) / temperature));
  });
}

template <class T>
void tempered_gate_backward_cpu(const Matrix<T>& z, T temperature, const Matrix<T>& s,
                                const Matrix<T>& ds, bool add_z, const Matrix<T>& dz,
                                bool add_temperature, T* dtemperature) {
  const auto slope = [&](Index i) {
    return *ds.row(i) * *s.row(i) * (1 - *s.row(i)) / temperature;
  };
  if (dz.data != nullptr)
    for_rows(z.rows, [&](Index i) {
      put(add_z, dz.row(i)[0], -slope(i));
      put(add_z, dz.row(i)[1], slope(i));
    });
  if (dtemperature == nullptr) return;
  double sum = 0;
  for (Index i = 0; i < z.rows; ++i)
    sum -= static_cast<double>(slope(i) * (z.row(i)[1] - z.row(i)[0]) / temperature);
  put(add_temperature, *dtemperature, static_cast<T>(sum));
}

template <class T>
void keep_lookups_cpu(const Matrix<T>& s, Index length, Index k, const Matrix<T>& kept,
                      std::int32_t* order) {
  for_sequences(s.rows, length, [&](Index first) {
    if (k == 0) {
      for (Index t = first; t < first + length; ++t)
        *kept.row(t) = *s.row(t) > T(0.5) ? *s.row(t) : T(0);
      return;
    }
    std::int32_t* const begin = order + first;
    std::iota(begin, begin + length, 0);
    LargestFirst<T>(s.row(first), s.stride, begin).select(length, k);
    for (Index i = 0; i < length; ++i)
      *kept.row(first + begin[i]) = i < k ? *s.row(first + begin[i]) : T(0);
  });
}

template <class T>
double lookup_mean_cpu(const Matrix<T>& s, Index length, const float* weights, Index labels) {
  double sum = 0;
  for (Index i = 0; i < s.rows; ++i)
    if (counts(weights, labels, i / length)) sum += static_cast<double>(*s.row(i));
  return sum / counted_tokens(s.rows, length, weights, labels);
}

template <class T>
void lookup_mean_backward_cpu(Index length, const float* weights, Index labels, double d,
                              bool accumulate, const Matrix<T>& ds) {
  const T each = static_cast<T>(d / counted_tokens(ds.rows, length, weights, labels));
  for (Index i = 0; i < ds.rows; ++i)
    put(accumulate, *ds.row(i), counts(weights, labels, i / length) ? each : T(0));
}

template <class T>
void add_scaled_cpu(const Matrix<T>& x, const Matrix<T>& s, const Matrix<T>& a,
                    const Matrix<T>& y) {
  for_rows(y.rows, [&](Index i) {
    for (Index j = 0; j < y.cols; ++j)
      y.row(i)[j] = x.row(i)[j] + *s.row(i) * a.row(i)[j];
  });
}

template <class T>
void add_scaled_backward_cpu(const Matrix<T>& s, const Matrix<T>& a, const Matrix<T>& dy,
                             bool add_s, const Matrix<T>& ds, bool add_a, const Matrix<T>& da) {
  for_rows(dy.rows, [&](Index i) {
    const T* d = dy.row(i);
    if (ds.data != nullptr) {
      T sum = 0;
      for (Index j = 0; j < dy.cols; ++j)
        sum += d[j] * a.row(i)[j];
      put(add_s, *ds.row(i), sum);
    }
    if (da.data != nullptr)
      for (Index j = 0; j < dy.cols; ++j)
        put(add_a, da.row(i)[j], *s.row(i) * d[j]);
  });
}

#define INSTANTIATE(T)                                                                             \
  template void position_softmax_cpu(const Matrix<T>&, Index, bool, const Matrix<T>&);             \
  template void position_softmax_backward_cpu(                                                     \
      const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, Index, bool, bool, const Matrix<T>&);  \
  template void tempered_gate_cpu(const Matrix<T>&, T, const Matrix<T>&);                          \
  template void tempered_gate_backward_cpu(const Matrix<T>&, T, const Matrix<T>&,                  \
                                           const Matrix<T>&, bool, const Matrix<T>&, bool, T*);    \
  template void keep_lookups_cpu(const Matrix<T>&, Index, Index, const Matrix<T>&, std::int32_t*); \
  template double lookup_mean_cpu(const Matrix<T>&, Index, const float*, Index);                   \
  template void lookup_mean_backward_cpu(Index, const float*, Index, double, bool,                 \
                                         const Matrix<T>&);                                        \
  template void add_scaled_cpu(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&,               \
                               const Matrix<T>&);                                                  \
  template void add_scaled_backward_cpu(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&,      \
                                        bool, const Matrix<T>&, bool, const Matrix<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
