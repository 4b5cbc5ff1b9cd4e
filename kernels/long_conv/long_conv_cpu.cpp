#include "kernels/long_conv/long_conv_cpu.h"

#include <algorithm>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Channels whose sums stay in registers.
constexpr Index kChannels = 32;
// Examples that one partial filter gradient sums over.
constexpr Index kExampleBlock = 16;

/// The tap that takes position s to position t: t - s, or beyond L where it wraps around.
Index tap(Index t, Index s, Index length) {
  return s <= t ? t - s : t - s + 2 * length;
}

/// sums[c] += Σ over s of filter[tap(s)] ⊙ values[s], over [first, end) positions s and n
/// channels from column c0 on, where tap(s) is in use.
template <class T, class Tap>
void convolve(const Matrix<T>& values, const Matrix<T>& filter, Index first, Index end, Index taps,
              Index c0, Index n, const Tap& tap_of, T* sums) {
  if (n == kChannels) {
    T local[kChannels];
    std::copy_n(sums, kChannels, local);
    for (Index s = first; s < end; ++s) {
      const Index j = tap_of(s);
      if (j >= taps) continue;
      const T *k = filter.row(j) + c0, *v = values.row(s) + c0;
#pragma omp simd
      for (Index c = 0; c < kChannels; ++c)
        local[c] += k[c] * v[c];
    }
    std::copy_n(local, kChannels, sums);
    return;
  }
  for (Index s = first; s < end; ++s) {
    const Index j = tap_of(s);
    if (j >= taps) continue;
    const T *k = filter.row(j) + c0, *v = values.row(s) + c0;
    for (Index c = 0; c < n; ++c)
      sums[c] += k[c] * v[c];
  }
}

template <class Body>
void for_channels(Index channels, const Body& body) {
  for (Index c0 = 0; c0 < channels; c0 += kChannels)
    body(c0, std::min(kChannels, channels - c0));
}

}  // namespace

template <class T>
void long_conv_direct(const LongConvArguments<T>& a, const Matrix<T>& y) {
  const Index length = a.length, channels = a.u.cols;
  const bool wraps = a.taps > length + 1;
  parallel_for(a.u.rows / length, [&](Index example) {
    const Matrix<T> u = a.u.block(example * length, length);
    for_channels(channels, [&](Index c0, Index n) {
      for (Index t = 0; t < length; ++t) {
        T* to = y.row(example * length + t) + c0;
        std::fill_n(to, n, T(0));
        const Index first = std::max<Index>(0, t - a.taps + 1);
        convolve(
            u, a.filter, wraps ? 0 : first, wraps ? length : t + 1, a.taps, c0, n,
            [&](Index s) { return tap(t, s, length); }, to);
      }
    });
  });
}

template <class T>
void long_conv_direct_backward(const LongConvArguments<T>& a, const Matrix<T>& dy,
                               const Gradient<T>& du, const Gradient<T>& dfilter, Index replica,
                               T* scratch) {
  const Index length = a.length, channels = a.u.cols, examples = a.u.rows / length;
  const bool wraps = a.taps > length + 1;
  if (du.wanted) {
    parallel_for(examples, [&](Index example) {
      const Matrix<T> d = dy.block(example * length, length);
      for_channels(channels, [&](Index c0, Index n) {
        for (Index s = 0; s < length; ++s) {
          T* to = du.view.replica(replica).row(example * length + s) + c0;
          if (!du.accumulate) std::fill_n(to, n, T(0));
          const Index end = std::min(length, s + a.taps);
          convolve(
              d, a.filter, wraps ? 0 : s, wraps ? length : end, a.taps, c0, n,
              [&](Index t) { return tap(t, s, length); }, to);
        }
      });
    });
  }
  if (!dfilter.wanted) return;
  const Index blocks = blocks_of(examples, kExampleBlock), per_block = 2 * length * channels;
  parallel_for(blocks, [&](Index block) {
    T* sums = scratch + block * per_block;
    std::fill_n(sums, a.taps * channels, T(0));
    const Index last = std::min(examples, (block + 1) * kExampleBlock);
    for (Index example = block * kExampleBlock; example < last; ++example) {
      const Matrix<T> u = a.u.block(example * length, length);
      const Matrix<T> d = dy.block(example * length, length);
      for_channels(channels, [&](Index c0, Index n) {
        for (Index j = 0; j < a.taps; ++j) {  // pairs (t, s) that tap j joins
          const Index shift = j < length ? j : j - 2 * length;
          if (shift <= -length) continue;
          const Index first = std::max<Index>(0, shift), end = std::min(length, length + shift);
          const Matrix<T> shifted{u.data - shift * u.stride, u.rows, u.cols, u.stride};
          convolve(
              d, shifted, first, end, length, c0, n, [](Index t) { return t; },
              sums + j * channels + c0);
        }
      });
    }
  });
  for (Index j = 0; j < a.taps; ++j) {
    T* to = dfilter.view.replica(replica).row(j);
    if (!dfilter.accumulate) std::fill_n(to, channels, T(0));
    for (Index block = 0; block < blocks; ++block)
      for (Index c = 0; c < channels; ++c)
        to[c] += scratch[block * per_block + j * channels + c];
  }
}

Index long_conv_scratch(Index examples, Index length, Index channels, bool backward) {
  const Index spectra = 2 * channels * (length + 1) * 2;  // filter's and its gradient's, complex
  const Index columns = 8 * (length + 1) * channels;      // one set of work columns a channel
  if (length > kDirectLongConv) return spectra + columns;
  return backward ? blocks_of(examples, kExampleBlock) * 2 * length * channels : 0;
}

template <class T>
void long_conv_forward_cpu(const Batched<T>& u, const Batched<T>& filter, Index length, Index taps,
                           const Batched<T>& y, T* scratch) {
  for (Index r = 0; r < u.replicas; ++r) {
    const LongConvArguments<T> a{u.replica(r), filter.replica(r), length, taps};
    if (length <= kDirectLongConv)
      long_conv_direct(a, y.replica(r));
    else
      long_conv_fft(a, y.replica(r), scratch);
  }
}

template <class T>
void long_conv_backward_cpu(const Batched<T>& u, const Batched<T>& filter, const Batched<T>& dy,
                            Index length, Index taps, const Gradient<T>& du,
                            const Gradient<T>& dfilter, T* scratch) {
  for (Index r = 0; r < u.replicas; ++r) {
    const LongConvArguments<T> a{u.replica(r), filter.replica(r), length, taps};
    if (length <= kDirectLongConv)
      long_conv_direct_backward(a, dy.replica(r), du, dfilter, r, scratch);
    else
      long_conv_fft_backward(a, dy.replica(r), du, dfilter, r, scratch);
    if (!dfilter.wanted || dfilter.accumulate) continue;
    const Matrix<T> d = dfilter.view.replica(r);  // taps out of reach have no gradient
    for (Index j = taps; j < d.rows; ++j)
      std::fill_n(d.row(j), d.cols, T(0));
  }
}

#define INSTANTIATE(T)                                                                          \
  template void long_conv_direct(const LongConvArguments<T>&, const Matrix<T>&);                \
  template void long_conv_direct_backward(const LongConvArguments<T>&, const Matrix<T>&,        \
                                          const Gradient<T>&, const Gradient<T>&, Index, T*);   \
  template void long_conv_forward_cpu(const Batched<T>&, const Batched<T>&, Index, Index,       \
                                      const Batched<T>&, T*);                                   \
  template void long_conv_backward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&, \
                                       Index, Index, const Gradient<T>&, const Gradient<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
