#include "kernels/causal_conv/causal_conv_cpu.h"

#include <algorithm>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Examples that one partial weight gradient sums over.
constexpr Index kExampleBlock = 8;

Index blocks_of(Index examples) {
  return (examples + kExampleBlock - 1) / kExampleBlock;
}

/// weight [C, K] → by_tap [K, C], so that the loops run over channels.
template <class T>
void by_taps(const Matrix<T>& weight, T* by_tap) {
  for (Index c = 0; c < weight.rows; ++c)
    for (Index j = 0; j < weight.cols; ++j)
      by_tap[j * weight.rows + c] = weight.row(c)[j];
}

template <class T>
void add_product(Index n, const T* a, const T* b, T* to) {
#pragma omp simd
  for (Index c = 0; c < n; ++c)
    to[c] += a[c] * b[c];
}

/// One example's dx, and its share of dweight (by taps, K rows) and dbias (row K of `sums`).
template <class T>
void backward_example(const Matrix<T>& x, const Matrix<T>& dy, const T* by_tap, Index taps,
                      const Gradient<T>& dx, const Matrix<T>& dx_rows, T* sums) {
  const Index length = dy.rows, channels = dy.cols;
  if (dx.wanted) {
    for (Index t = 0; t < length; ++t) {
      T* to = dx_rows.row(t);
      if (!dx.accumulate) std::fill_n(to, channels, T(0));
      for (Index j = std::max<Index>(0, taps - length + t); j < taps; ++j)
        add_product(channels, by_tap + j * channels, dy.row(t + taps - 1 - j), to);
    }
  }
  for (Index t = 0; t < length; ++t) {
    for (Index j = std::max<Index>(0, taps - 1 - t); j < taps; ++j)
      add_product(channels, x.row(t - taps + 1 + j), dy.row(t), sums + j * channels);
    T* db = sums + taps * channels;
    for (Index c = 0; c < channels; ++c)
      db[c] += dy.row(t)[c];
  }
}

}  // namespace

Index causal_conv_scratch(Index examples, Index channels, Index taps) {
  return channels * taps + blocks_of(examples) * (taps + 1) * channels;
}

template <class T>
void causal_conv_forward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& bias,
                             Index length, const Batched<T>& y, T* scratch) {
  const Index channels = x.cols, taps = weight.cols;
  for (Index r = 0; r < x.replicas; ++r) {
    by_taps(weight.replica(r), scratch);
    const T* b = bias.data == nullptr ? nullptr : bias.replica(r).data;
    parallel_for(x.rows / length, [&](Index example) {
      const Matrix<T> xs = x.replica(r).block(example * length, length);
      const Matrix<T> ys = y.replica(r).block(example * length, length);
      for (Index t = 0; t < length; ++t) {
        T* to = ys.row(t);
        if (b != nullptr)
          std::copy_n(b, channels, to);
        else
          std::fill_n(to, channels, T(0));
        for (Index j = std::max<Index>(0, taps - 1 - t); j < taps; ++j)
          add_product(channels, scratch + j * channels, xs.row(t - taps + 1 + j), to);
      }
    });
  }
}

template <class T>
void causal_conv_backward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& dy,
                              Index length, const Gradient<T>& dx, const Gradient<T>& dweight,
                              const Gradient<T>& dbias, T* scratch) {
  const Index channels = dy.cols, taps = weight.cols, examples = dy.rows / length;
  const Index blocks = blocks_of(examples), per_block = (taps + 1) * channels;
  T* partial = scratch + channels * taps;
  for (Index r = 0; r < dy.replicas; ++r) {
    by_taps(weight.replica(r), scratch);
    parallel_for(blocks, [&](Index block) {
      T* sums = partial + block * per_block;
      std::fill_n(sums, per_block, T(0));
      const Index end = std::min(examples, (block + 1) * kExampleBlock);
      for (Index example = block * kExampleBlock; example < end; ++example) {
        const Index first = example * length;
        backward_example(x.replica(r).block(first, length), dy.replica(r).block(first, length),
                         scratch, taps, dx,
                         dx.wanted ? dx.view.replica(r).block(first, length) : Matrix<T>{}, sums);
      }
    });
    for (Index block = 1; block < blocks; ++block)
      for (Index i = 0; i < per_block; ++i)
        partial[i] += partial[block * per_block + i];
    const auto write = [&](T* to, T value, bool accumulate) {
      *to = accumulate ? *to + value : value;
    };
    for (Index c = 0; c < channels; ++c) {
      for (Index j = 0; dweight.wanted && j < taps; ++j)
        write(dweight.view.replica(r).row(c) + j, partial[j * channels + c], dweight.accumulate);
      if (dbias.wanted)
        write(dbias.view.replica(r).data + c, partial[taps * channels + c], dbias.accumulate);
    }
  }
}

#define INSTANTIATE(T)                                                                            \
  template void causal_conv_forward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&,  \
                                        Index, const Batched<T>&, T*);                            \
  template void causal_conv_backward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&, \
                                         Index, const Gradient<T>&, const Gradient<T>&,           \
                                         const Gradient<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
