#include "kernels/rotary/rotary_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Rows that one block takes.
constexpr Index kRows = 256;

/// One head of one row; `turn` has cosine and sine of each pair, `sign` -1 turns back.
template <class T>
void turn_head(const double* turn, T sign, const T* x, Index pairs, bool accumulate, T* to) {
  for (Index i = 0; i < pairs; ++i) {
    const T cosine = static_cast<T>(turn[2 * i]), sine = sign * static_cast<T>(turn[2 * i + 1]);
    const T a = x[i] * cosine - x[i + pairs] * sine;
    const T b = x[i + pairs] * cosine + x[i] * sine;
    to[i] = accumulate ? to[i] + a : a;
    to[i + pairs] = accumulate ? to[i + pairs] + b : b;
  }
}

}  // namespace

RotaryTable rotary_table(Index length, Index head_numbers, double base) {
  RotaryTable table{length, head_numbers / 2, {}};
  table.values.reserve(static_cast<std::size_t>(length * head_numbers));
  for (Index t = 0; t < length; ++t)
    for (Index i = 0; i < table.pairs; ++i) {
      const double angle =
          static_cast<double>(t) *
          std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(head_numbers));
      table.values.push_back(std::cos(angle));
      table.values.push_back(std::sin(angle));
    }
  return table;
}

template <class T>
void rotary_cpu(const RotaryTable& table, const Batched<T>& x, bool back, const Gradient<T>& to) {
  if (!to.wanted) return;
  const T sign = back ? T(-1) : T(1);
  for (Index r = 0; r < x.replicas; ++r) {
    const Matrix<T> from = x.replica(r), into = to.view.replica(r);
    parallel_ranges(x.rows, kRows, [&](Index first, Index count) {
      for (Index row = first; row < first + count; ++row) {
        const double* turn = table.values.data() + row % table.length * 2 * table.pairs;
        for (Index at = 0; at < x.cols; at += 2 * table.pairs)
          turn_head(turn, sign, from.row(row) + at, table.pairs, to.accumulate, into.row(row) + at);
      }
    });
  }
}

template void rotary_cpu(const RotaryTable&, const Batched<float>&, bool, const Gradient<float>&);
template void rotary_cpu(const RotaryTable&, const Batched<double>&, bool, const Gradient<double>&);

}  // namespace recallbench
