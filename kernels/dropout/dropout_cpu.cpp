#include "kernels/dropout/dropout_cpu.h"

#include <algorithm>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

constexpr Index kChunk = 256;  // elements whose scales are computed at a time

template <class T>
void apply_chunk(const T* scale, const T* from, T* to, Index count, bool accumulate) {
  if (accumulate)
    for (Index i = 0; i < count; ++i)
      to[i] += from[i] * scale[i];
  else
    for (Index i = 0; i < count; ++i)
      to[i] = from[i] * scale[i];
}

}  // namespace

template <class T>
void dropout_cpu(const DropoutMask& mask, const Matrix<T>& from, const Matrix<T>& to,
                 bool accumulate) {
  parallel_ranges(from.rows * from.cols, 64 * kChunk, [&](Index begin, Index count) {
    T scale[kChunk];
    for (Index e = begin; e < begin + count; e += kChunk) {
      const Index end = std::min(e + kChunk, begin + count);
      dropout_scales(mask, e, end - e, scale);
      for (Index i = e; i < end;) {  // row by row: rows may lie apart
        const Index row = i / from.cols, col = i % from.cols;
        const Index n = std::min(end - i, from.cols - col);
        apply_chunk(scale + (i - e), from.row(row) + col, to.row(row) + col, n, accumulate);
        i += n;
      }
    }
  });
}

template void dropout_cpu(const DropoutMask&, const Matrix<float>&, const Matrix<float>&, bool);
template void dropout_cpu(const DropoutMask&, const Matrix<double>&, const Matrix<double>&, bool);

}  // namespace recallbench
