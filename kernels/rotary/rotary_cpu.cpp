#include "kernels/rotary/rotary_cpu.h"

#include <cmath>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 128;

/// Where a row stands among the turns of the table.
Index position(const RotaryRows& s, Index row) {
  return (s.at == nullptr ? row % s.length : s.at[row]) % s.positions;
}

}  // namespace

template <class T>
void rotary_table_cpu(const T* frequencies, Index pairs, Index positions, T* table) {
  for (Index t = 0; t < positions; ++t)
    for (Index i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(t) * static_cast<double>(frequencies[i]);
      table[2 * (t * pairs + i)] = static_cast<T>(std::cos(angle));
      table[2 * (t * pairs + i) + 1] = static_cast<T>(std::sin(angle));
    }
}

template <class T>
void rotary_cpu(const RotaryRows& s, const Matrix<T>& x, const T* table, bool back, bool accumulate,
                const Matrix<T>& y) {
  const T sign = back ? T(-1) : T(1);
  parallel_ranges(x.rows, kRowBlock, [&](Index begin, Index count) {
    for (Index row = begin; row < begin + count; ++row) {
      const T* turn = table + 2 * s.pairs * position(s, row);
      const T* from = x.row(row);
      T* to = y.row(row);
      for (Index j = 0; j < s.heads * s.pairs; ++j) {
        const T cosine = turn[2 * (j % s.pairs)], sine = sign * turn[2 * (j % s.pairs) + 1];
        const Index first = s.first(j), second = first + s.apart();
        const T a = from[first], b = from[second];
        to[first] = (accumulate ? to[first] : T(0)) + a * cosine - b * sine;
        to[second] = (accumulate ? to[second] : T(0)) + b * cosine + a * sine;
      }
    }
  });
}

/// dy/dθ turns y by a right angle, and θ grows with the frequency by t.
template <class T>
void rotary_frequencies_backward_cpu(const RotaryRows& s, const Matrix<T>& x, const Matrix<T>& dy,
                                     const T* table, bool accumulate, T* to) {
  for (Index i = 0; i < s.pairs; ++i) {
    double sum = 0;
    for (Index row = 0; row < x.rows; ++row) {
      const Index t = position(s, row);
      const T* turn = table + 2 * (s.pairs * t + i);
      for (Index j = i; j < s.heads * s.pairs; j += s.pairs) {
        const T *from = x.row(row) + s.first(j), *d = dy.row(row) + s.first(j);
        const T a = from[0], b = from[s.apart()];
        const T y0 = a * turn[0] - b * turn[1], y1 = b * turn[0] + a * turn[1];
        sum += static_cast<double>(t) * static_cast<double>(d[s.apart()] * y0 - d[0] * y1);
      }
    }
    to[i] = static_cast<T>(accumulate ? static_cast<double>(to[i]) + sum : sum);
  }
}

#define INSTANTIATE(T)                                                                \
  template void rotary_table_cpu(const T*, Index, Index, T*);                         \
  template void rotary_cpu(const RotaryRows&, const Matrix<T>&, const T*, bool, bool, \
                           const Matrix<T>&);                                         \
  template void rotary_frequencies_backward_cpu(const RotaryRows&, const Matrix<T>&,  \
                                                const Matrix<T>&, const T*, bool, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
