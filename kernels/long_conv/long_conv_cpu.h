#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Longest sequence that is convolved directly; measured on one core at D = 64 and 16384 tokens,
/// where forward and backward take 58 ms directly and 73 by FFT at L = 512, 119 and 63 at 1024.
inline constexpr Index kDirectLongConv = 512;

/// CPU twins of long_conv, for sequences of `length` rows. `taps` are the filter's rows in use:
/// at most length, or 2 length where they wrap around. scratch: long_conv_scratch numbers.
template <class T>
void long_conv_forward_cpu(const Batched<T>& u, const Batched<T>& filter, Index length, Index taps,
                           const Batched<T>& y, T* scratch);
template <class T>
void long_conv_backward_cpu(const Batched<T>& u, const Batched<T>& filter, const Batched<T>& dy,
                            Index length, Index taps, const Gradient<T>& du,
                            const Gradient<T>& dfilter, T* scratch);

Index long_conv_scratch(Index examples, Index length, Index channels, bool backward);

/// The two forms, of one replica. `accumulate` adds to the output.
template <class T>
struct LongConvArguments {
  Matrix<T> u, filter;
  Index length, taps;
};
template <class T>
void long_conv_direct(const LongConvArguments<T>& a, const Matrix<T>& y);
template <class T>
void long_conv_direct_backward(const LongConvArguments<T>& a, const Matrix<T>& dy,
                               const Gradient<T>& du, const Gradient<T>& dfilter, Index replica,
                               T* scratch);
template <class T>
void long_conv_fft(const LongConvArguments<T>& a, const Matrix<T>& y, T* scratch);
template <class T>
void long_conv_fft_backward(const LongConvArguments<T>& a, const Matrix<T>& dy,
                            const Gradient<T>& du, const Gradient<T>& dfilter, Index replica,
                            T* scratch);

}  // namespace recallbench
