// The FFT form: spectra of length 2L, one channel of one example at a time.
#include <algorithm>
#include <complex>
#include <unsupported/Eigen/FFT>

#include "kernels/long_conv/long_conv_cpu.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

/// Transforms of one thread; plans are made at the first use of a length.
template <class T>
Eigen::internal::kissfft_impl<T>& transforms() {
  thread_local Eigen::internal::kissfft_impl<T> instance;
  return instance;
}

/// The work columns of one channel: two of 2L numbers and two half spectra of L + 1.
template <class T>
struct Columns {
  Index n;  // 2L
  T *a, *b;
  std::complex<T>*sa, *sb;

  Columns(T* memory, Index length)
      : n(2 * length),
        a(memory),
        b(a + 2 * (length + 1)),
        sa(reinterpret_cast<std::complex<T>*>(b + 2 * (length + 1))),
        sb(sa + length + 1) {}

  /// Column c of the first `count` rows, zero-padded to 2L, and its half spectrum.
  void forward(const Matrix<T>& from, Index first, Index count, Index c, T* column,
               std::complex<T>* spectrum) {
    for (Index i = 0; i < count; ++i)
      column[i] = from.row(first + i)[c];
    std::fill(column + count, column + n, T(0));
    transforms<T>().fwd(spectrum, column, static_cast<int>(n));
  }
  void inverse(const std::complex<T>* spectrum, T* column) {
    transforms<T>().inv(column, spectrum, static_cast<int>(n));
    const T scale = T(1) / static_cast<T>(n);
    for (Index i = 0; i < n; ++i)
      column[i] *= scale;
  }
};

template <class T>
struct Layout {
  Index half, per_channel;
  std::complex<T>*filter, *gradient;
  T* columns;

  Layout(T* scratch, Index length, Index channels)
      : half(length + 1),
        per_channel(8 * (length + 1)),
        filter(reinterpret_cast<std::complex<T>*>(scratch)),
        gradient(filter + channels * half),
        columns(scratch + 4 * channels * half) {}
};

}  // namespace

template <class T>
void long_conv_fft(const LongConvArguments<T>& a, const Matrix<T>& y, T* scratch) {
  const Layout<T> at(scratch, a.length, a.u.cols);
  parallel_for(a.u.cols, [&](Index c) {
    Columns<T> work(at.columns + c * at.per_channel, a.length);
    std::complex<T>* filter = at.filter + c * at.half;
    work.forward(a.filter, 0, a.taps, c, work.a, filter);
    for (Index first = 0; first < a.u.rows; first += a.length) {
      work.forward(a.u, first, a.length, c, work.a, work.sa);
      for (Index i = 0; i < at.half; ++i)
        work.sa[i] *= filter[i];
      work.inverse(work.sa, work.a);
      for (Index t = 0; t < a.length; ++t)
        y.row(first + t)[c] = work.a[t];
    }
  });
}

template <class T>
void long_conv_fft_backward(const LongConvArguments<T>& a, const Matrix<T>& dy,
                            const Gradient<T>& du, const Gradient<T>& dfilter, Index replica,
                            T* scratch) {
  const Layout<T> at(scratch, a.length, a.u.cols);
  parallel_for(a.u.cols, [&](Index c) {
    Columns<T> work(at.columns + c * at.per_channel, a.length);
    std::complex<T>*filter = at.filter + c * at.half, *sum = at.gradient + c * at.half;
    work.forward(a.filter, 0, a.taps, c, work.a, filter);
    std::fill_n(sum, at.half, std::complex<T>(0));
    for (Index first = 0; first < a.u.rows; first += a.length) {
      work.forward(dy, first, a.length, c, work.a, work.sa);
      if (dfilter.wanted) {
        work.forward(a.u, first, a.length, c, work.b, work.sb);
        for (Index i = 0; i < at.half; ++i)
          sum[i] += std::conj(work.sb[i]) * work.sa[i];
      }
      if (!du.wanted) continue;
      for (Index i = 0; i < at.half; ++i)
        work.sa[i] *= std::conj(filter[i]);
      work.inverse(work.sa, work.a);
      for (Index t = 0; t < a.length; ++t) {
        T& to = du.view.replica(replica).row(first + t)[c];
        to = du.accumulate ? to + work.a[t] : work.a[t];
      }
    }
    if (!dfilter.wanted) return;
    work.inverse(sum, work.a);
    for (Index j = 0; j < a.taps; ++j) {
      T& to = dfilter.view.replica(replica).row(j)[c];
      to = dfilter.accumulate ? to + work.a[j] : work.a[j];
    }
  });
}

#define INSTANTIATE(T)                                                                \
  template void long_conv_fft(const LongConvArguments<T>&, const Matrix<T>&, T*);     \
  template void long_conv_fft_backward(const LongConvArguments<T>&, const Matrix<T>&, \
                                       const Gradient<T>&, const Gradient<T>&, Index, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
