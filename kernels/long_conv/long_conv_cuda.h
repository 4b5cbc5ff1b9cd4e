#pragma once

#include <cstddef>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// R, B, L, D, and the filter's rows in use: at most L, or 2L where they wrap around.
struct LongConvSize {
  Index replicas, examples, length, channels, taps;

  constexpr bool wraps() const { return taps > length + 1; }
};

/// Longest sequence that a GPU convolves directly: up to here the L / 2 products a number cost less
/// than the dozen times that the FFTs move it. On tensor cores, where products may be rounded,
/// forward up to what shared memory holds.
inline constexpr Index kDirectLongConvCuda = 256, kTensorLongConvCuda = 1024;

/// Whether the convolution runs on tensor cores; taps must not wrap around.
constexpr bool long_conv_uses_tensor_cores(Precision precision, const LongConvSize& s,
                                           bool backward) {
  return precision != Precision::fp32 && s.taps <= s.length &&
         s.length <= (backward ? kDirectLongConvCuda : kTensorLongConvCuda);
}

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

/// The form on tensor cores, factors rounded to tf32: y, du and the sums of the filter's gradient
/// over slices of `slice_examples` examples, parts [R, slices, taps, D]. The first two say what
/// shared memory a block has at least, of y and du and of the sums.
std::size_t long_conv_tensor_bytes(const LongConvSize& size);
std::size_t long_conv_tensor_sums_bytes(const LongConvSize& size);
void long_conv_tensor_cuda(const CudaCall& call, const LongConvSize& size, const Batched<float>& u,
                           const Batched<float>& filter, const Batched<float>& y);
void long_conv_tensor_du_cuda(const CudaCall& call, const LongConvSize& size,
                              const Batched<float>& filter, const Batched<float>& dy,
                              const Gradient<float>& du);
void long_conv_tensor_sums_cuda(const CudaCall& call, const LongConvSize& size,
                                Index slice_examples, const Batched<float>& u,
                                const Batched<float>& dy, float* parts);

}  // namespace recallbench
