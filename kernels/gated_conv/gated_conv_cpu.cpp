#include "kernels/gated_conv/gated_conv_cpu.h"

#include "kernels/causal_conv/causal_conv_cpu.h"
#include "kernels/elementwise/elementwise_cpu.h"

namespace recallbench {

Index gated_conv_scratch(Index replicas, Index examples, Index length, Index channels, Index taps,
                         bool backward) {
  return causal_conv_scratch(examples, length, channels, taps, ConvActivation::none) +
         (backward ? replicas * examples * length * channels : 0);
}

template <class T>
void gated_conv_forward_cpu(const GatedConvViews<T>& in, const Batched<T>& y, T* scratch) {
  causal_conv_forward_cpu<T>({in.u, in.weight, in.bias, in.length}, y, scratch);
  multiply_cpu(y, in.gate, y, false);
  add_cpu(y, in.u, y);
}

template <class T>
void gated_conv_backward_cpu(const GatedConvViews<T>& in, const Batched<T>& dy,
                             const GatedConvGradients<T>& out, T* scratch) {
  const Index rows = dy.rows, channels = dy.cols, taps = in.weight.cols;
  // The convolution first, then its gradient.
  const Batched<T> work{scratch + causal_conv_scratch(rows / in.length, in.length, channels, taps,
                                                      ConvActivation::none),
                        dy.replicas,
                        rows,
                        channels,
                        channels,
                        rows * channels};
  if (out.gate.wanted) {
    causal_conv_forward_cpu<T>({in.u, in.weight, in.bias, in.length}, work, scratch);
    multiply_cpu(dy, work, out.gate.view, out.gate.accumulate);
  }
  multiply_cpu(dy, in.gate, work, false);
  copy_cpu(dy, out.u);
  causal_conv_backward_cpu<T>({in.u, in.weight, {}, in.length}, work,
                              {{out.u.view, out.u.wanted, true}, out.weight, out.bias}, scratch);
}

#define INSTANTIATE(T)                                                                   \
  template void gated_conv_forward_cpu(const GatedConvViews<T>&, const Batched<T>&, T*); \
  template void gated_conv_backward_cpu(const GatedConvViews<T>&, const Batched<T>&,     \
                                        const GatedConvGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
