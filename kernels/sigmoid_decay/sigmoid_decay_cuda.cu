// Floor: every number read and written once, two reads and a write backward (B = 256, L = 256, 128
// columns: 67 and 101 MB, 16 and 24 us); pieces of 16 bytes where alignment allows.
#include "kernels/sigmoid_decay/sigmoid_decay_cuda.h"

#include "kernels/cuda/elements.cuh"

namespace recallbench {
namespace {

/// ln(λ + (1 - λ) σ(x)) / divisor; for λ = 0 in the form that stays finite.
__device__ float log_gate(const SigmoidDecayCuda& o, float x) {
  const float log = o.lower_bound == 0 ? fminf(x, 0.0f) - log1pf(expf(-fabsf(x)))
                                       : logf(o.lower_bound + (1 - o.lower_bound) * sigmoid(x));
  return log / o.divisor;
}

struct SigmoidDecay {
  SigmoidDecayCuda options;
  __device__ float operator()(float x, float) const {
    const float gate = log_gate(options, x);
    return gate < options.clamp_min ? options.clamp_min : gate;  // a NaN compares false and passes
  }
};

/// dg/dx = (1 - λ) σ (1 - σ) / (λ + (1 - λ) σ) / divisor, with λ = 0: (1 - σ) / divisor.
struct SigmoidDecaySlope {
  SigmoidDecayCuda options;
  __device__ float operator()(float x, float dg) const {
    if (log_gate(options, x) < options.clamp_min) return 0;
    float slope = sigmoid(-x) / options.divisor;
    if (options.lower_bound != 0) {
      const float open = (1 - options.lower_bound) * sigmoid(x);
      slope *= open / (options.lower_bound + open);
    }
    return slope * dg;
  }
};

struct BoundedDecay {
  float bound;
  __device__ float operator()(float x, float) const { return -bound * sigmoid(x); }
};
struct BoundedDecaySlope {
  float bound;
  __device__ float operator()(float x, float dg) const {
    return -bound * sigmoid(x) * sigmoid(-x) * dg;
  }
};

struct DecayComplement {
  __device__ float operator()(float g, float) const { return -expm1f(g); }
};
struct DecayComplementSlope {
  __device__ float operator()(float g, float dy) const { return -expf(g) * dy; }
};

/// A function of a number of a and the one of b at its place.
template <class F>
struct Numberwise {
  F f;
  template <int kVec>
  __device__ void operator()(int, Index, const float (&a)[kVec], const float (&b)[kVec],
                             float (&y)[kVec]) const {
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      y[k] = f(a[k], b[k]);
  }
};

template <class F>
void map(const CudaCall& call, const char* name, const Batched<float>& a, const Batched<float>& b,
         const Gradient<float>& to, const F& f) {
  map_elements_cuda(call, name, a, b, to, Numberwise<F>{f});
}

}  // namespace

void sigmoid_decay_cuda(const CudaCall& call, const SigmoidDecayCuda& options,
                        const Batched<float>& x, const Batched<float>& g) {
  map(call, "sigmoid_decay", x, {}, {g, true, false}, SigmoidDecay{options});
}

void sigmoid_decay_backward_cuda(const CudaCall& call, const SigmoidDecayCuda& options,
                                 const Batched<float>& x, const Batched<float>& dg,
                                 const Gradient<float>& dx) {
  map(call, "sigmoid_decay_backward", x, dg, dx, SigmoidDecaySlope{options});
}

void bounded_decay_cuda(const CudaCall& call, float bound, const Batched<float>& x,
                        const Batched<float>& g) {
  map(call, "bounded_decay", x, {}, {g, true, false}, BoundedDecay{bound});
}

void bounded_decay_backward_cuda(const CudaCall& call, float bound, const Batched<float>& x,
                                 const Batched<float>& dg, const Gradient<float>& dx) {
  map(call, "bounded_decay_backward", x, dg, dx, BoundedDecaySlope{bound});
}

void decay_complement_cuda(const CudaCall& call, const Batched<float>& g, const Batched<float>& y) {
  map(call, "decay_complement", g, {}, {y, true, false}, DecayComplement{});
}

void decay_complement_backward_cuda(const CudaCall& call, const Batched<float>& g,
                                    const Batched<float>& dy, const Gradient<float>& dg) {
  map(call, "decay_complement_backward", g, dy, dg, DecayComplementSlope{});
}

}  // namespace recallbench
