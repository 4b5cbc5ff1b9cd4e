#include "kernels/causal_conv/causal_conv_cpu.h"

#include <Eigen/Core>
#include <algorithm>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Examples that one partial weight gradient sums over.
constexpr Index kExampleBlock = 8;

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

/// Token t of the convolution, before its activation; b may be null.
template <class T>
void convolve_token(const Matrix<T>& x, const T* by_tap, Index taps, const T* b, Index t, T* to) {
  if (b != nullptr)
    std::copy_n(b, x.cols, to);
  else
    std::fill_n(to, x.cols, T(0));
  for (Index j = std::max<Index>(0, taps - 1 - t); j < taps; ++j)
    add_product(x.cols, by_tap + j * x.cols, x.row(t - taps + 1 + j), to);
}

template <class T>
using Row = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;

/// a = silu(a)
template <class T>
void silu(Row<T> a) {
  a = a / (T(1) + (-a).exp());
}

/// a = silu'(a) ⊙ dy
template <class T>
void silu_backward(Row<T> dy, Row<T> a) {
  a = dy * (T(1) + a * (T(1) - (T(1) + (-a).exp()).inverse())) / (T(1) + (-a).exp());
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

Index causal_conv_scratch(Index examples, Index length, Index channels, Index taps,
                          ConvActivation activation) {
  const Index rows = activation == ConvActivation::none ? 0 : length;
  return channels * taps + blocks_of(examples, kExampleBlock) * (taps + 1 + rows) * channels;
}

template <class T>
void causal_conv_forward_cpu(const CausalConvViews<T>& in, const Batched<T>& y, T* scratch) {
  const Index channels = y.cols, length = in.length;
  for (Index r = 0; r < y.replicas; ++r) {
    by_taps(in.weight.replica(r), scratch);
    const T* b = in.bias.data == nullptr ? nullptr : in.bias.replica(r).data;
    parallel_for(y.rows / length, [&](Index example) {
      const Matrix<T> x = in.x.replica(r).block(example * length, length);
      const Matrix<T> to = y.replica(r).block(example * length, length);
      for (Index t = 0; t < length; ++t) {
        convolve_token(x, scratch, in.weight.cols, b, t, to.row(t));
        if (in.activation == ConvActivation::silu) silu<T>({to.row(t), channels});
      }
    });
  }
}

template <class T>
void causal_conv_backward_cpu(const CausalConvViews<T>& in, const Batched<T>& dy,
                              const CausalConvGradients<T>& out, T* scratch) {
  const Index channels = dy.cols, taps = in.weight.cols, length = in.length;
  const Index examples = dy.rows / length;
  const Index blocks = blocks_of(examples, kExampleBlock), per_block = (taps + 1) * channels;
  T* partial = scratch + channels * taps;
  for (Index r = 0; r < dy.replicas; ++r) {
    by_taps(in.weight.replica(r), scratch);
    const T* b = in.bias.data == nullptr ? nullptr : in.bias.replica(r).data;
    parallel_for(blocks, [&](Index block) {
      T* sums = partial + block * per_block;
      std::fill_n(sums, per_block, T(0));
      const Index end = std::min(examples, (block + 1) * kExampleBlock);
      for (Index example = block * kExampleBlock; example < end; ++example) {
        const Index first = example * length;
        const Matrix<T> x = in.x.replica(r).block(first, length);
        Matrix<T> d = dy.replica(r).block(first, length);
        if (in.activation == ConvActivation::silu) {
          const Matrix<T> argument{partial + blocks * per_block + block * length * channels, length,
                                   channels, channels};
          for (Index t = 0; t < length; ++t) {
            convolve_token(x, scratch, taps, b, t, argument.row(t));
            silu_backward<T>({d.row(t), channels}, {argument.row(t), channels});
          }
          d = argument;
        }
        backward_example(x, d, scratch, taps, out.x,
                         out.x.wanted ? out.x.view.replica(r).block(first, length) : Matrix<T>{},
                         sums);
      }
    });
    for (Index block = 1; block < blocks; ++block)
      for (Index i = 0; i < per_block; ++i)
        partial[i] += partial[block * per_block + i];
    const auto write = [&](T* to, T value, bool accumulate) {
      *to = accumulate ? *to + value : value;
    };
    for (Index c = 0; c < channels; ++c) {
      for (Index j = 0; out.weight.wanted && j < taps; ++j)
        write(out.weight.view.replica(r).row(c) + j, partial[j * channels + c],
              out.weight.accumulate);
      if (out.bias.wanted)
        write(out.bias.view.replica(r).data + c, partial[taps * channels + c], out.bias.accumulate);
    }
  }
}

template void causal_conv_forward_cpu(const CausalConvViews<float>&, const Batched<float>&, float*);
template void causal_conv_backward_cpu(const CausalConvViews<float>&, const Batched<float>&,
                                       const CausalConvGradients<float>&, float*);
template void causal_conv_forward_cpu(const CausalConvViews<double>&, const Batched<double>&,
                                      double*);
template void causal_conv_backward_cpu(const CausalConvViews<double>&, const Batched<double>&,
                                       const CausalConvGradients<double>&, double*);

}  // namespace recallbench
