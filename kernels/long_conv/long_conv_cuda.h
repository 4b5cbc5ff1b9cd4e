#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// R, B, L, D, and the filter's rows in use: at most L, or 2L where they wrap around.
struct LongConvSize {
  Index replicas, examples, length, channels, taps;

  constexpr bool wraps() const { return taps > length + 1; }
};

/// Longest sequence that a GPU convolves directly: up to here the L / 2 products a number cost less
/// than the dozen times that the FFTs move it.
inline constexpr Index kDirectLongConvCuda = 256;

/// CUDA twins of long_conv; `scratch` holds long_conv_cuda_scratch numbers.
void long_conv_forward_cuda(const CudaCall& call, const LongConvSize& size, const Batched<float>& u,
                            const Batched<float>& filter, const Batched<float>& y, float* scratch);
void long_conv_backward_cuda(const CudaCall& call, const LongConvSize& size,
                             const Batched<float>& u, const Batched<float>& filter,
                             const Batched<float>& dy, const Gradient<float>& du,
                             const Gradient<float>& dfilter, float* scratch);
/// Makes cuFFT's plans too, so that none is made while a graph is captured.
Index long_conv_cuda_scratch(const LongConvSize& size, bool backward);

/// The form with FFTs of length 2L, of all replicas. `dfilter` has the rows in use alone.
void long_conv_fft_cuda(const CudaCall& call, const LongConvSize& size, const Batched<float>& u,
                        const Batched<float>& filter, const Batched<float>& y, float* scratch);
void long_conv_fft_backward_cuda(const CudaCall& call, const LongConvSize& size,
                                 const Batched<float>& u, const Batched<float>& filter,
                                 const Batched<float>& dy, const Gradient<float>& du,
                                 const Gradient<float>& dfilter, float* scratch);
Index long_conv_fft_cuda_scratch(const LongConvSize& size, bool backward);

}  // namespace recallbench
