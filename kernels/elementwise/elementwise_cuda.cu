// Floor: every input read once and every output written once, at the speed of memory (B = 256,
// L = 256, D = 128: 34 MB a tensor, 8 us). A thread takes four numbers, 16 bytes a load, and a
// multiprocessor is full of threads, which keeps enough loads in flight; nothing is read twice.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_cuda.h"

namespace recallbench {
namespace {

/// The views of a backward pass of two inputs.
struct Pair {
  Batched<float> a, b, dy;
  Gradient<float> da, db;
};

/// Both gradients in one pass; a thread computes `kVec` numbers of a row, blockIdx.y is the
/// replica.
template <int kVec, class F>
__global__ void pair_backward(Pair v, std::uint32_t per_row, std::uint32_t count, F f) {
  after_previous();
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const Index replica = blockIdx.y, row = i / per_row, col = Index{i % per_row} * kVec;
  float as[kVec], bs[kVec], ds[kVec], das[kVec], dbs[kVec];
  load_numbers(place_of(v.a, replica, row, col), as);
  load_numbers(place_of(v.b, replica, row, col), bs);
  load_numbers(place_of(v.dy, replica, row, col), ds);
#pragma unroll
  for (int k = 0; k < kVec; ++k)
    f(as[k], bs[k], ds[k], das[k], dbs[k]);
  if (v.da.wanted) write_numbers(das, v.da.accumulate, place_of(v.da.view, replica, row, col));
  if (v.db.wanted) write_numbers(dbs, v.db.accumulate, place_of(v.db.view, replica, row, col));
}

template <class F>
void pair_backward_cuda(const CudaCall& call, const char* name, Pair v, const F& f) {
  if (!v.da.wanted && !v.db.wanted) return;
  Batched<float>* const views[] = {&v.a, &v.b, &v.dy, &v.da.view, &v.db.view};
  bool flat = true, quads = true;
  for (const Batched<float>* view : views)
    flat = flat && detail::is_flat(*view);
  for (Batched<float>* view : views) {
    if (flat) *view = detail::flattened(*view);
    quads = quads && in_quads(*view);
  }
  const Index per_row = quads ? v.dy.cols / 4 : v.dy.cols, count = v.dy.rows * per_row;
  check(count < Index{1} << 31, name, "more numbers than a GPU kernel counts");
  if (count == 0) return;
  constexpr unsigned kThreads = 256;
  const dim3 blocks(static_cast<unsigned>((count + kThreads - 1) / kThreads),
                    static_cast<unsigned>(v.dy.replicas));
  const auto kernel = quads ? pair_backward<4, F> : pair_backward<1, F>;
  cuda_launch(name, kernel, {blocks, kThreads, 0, call.stream}, v,
              static_cast<std::uint32_t>(per_row), static_cast<std::uint32_t>(count), f);
}

/// A function of one number of a and one of b as map_elements_cuda wants it.
template <class F>
struct Pointwise {
  F f;
  template <int kVec>
  __device__ void operator()(int, Index, const float (&a)[kVec], const float (&b)[kVec],
                             float (&y)[kVec]) const {
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      y[k] = f(a[k], b[k]);
  }
};

struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct First {
  __device__ float operator()(float a, float) const { return a; }
};
struct Product {
  __device__ float operator()(float a, float b) const { return a * b; }
};

__device__ float tanh_argument(float x) {  // of gelu_tanh
  return 0.79788456f * (x + 0.044715f * x * x * x);
}

__device__ float phi(float x) {  // standard normal distribution function
  return 0.5f * (1.0f + erff(x * 0.70710678f));
}

template <Activation f>
struct Value {
  __device__ float operator()(float x, float) const {
    if constexpr (f == Activation::silu) return x * sigmoid(x);
    if constexpr (f == Activation::gelu) return x * phi(x);
    if constexpr (f == Activation::relu) return x < 0.0f ? 0.0f : x;
    if constexpr (f == Activation::softplus) return x > 20.0f ? x : log1pf(expf(x));
    if constexpr (f == Activation::sigmoid) return sigmoid(x);
    if constexpr (f == Activation::tanh) return tanhf(x);
    if constexpr (f == Activation::gelu_tanh) return 0.5f * x * (1.0f + tanhf(tanh_argument(x)));
  }
};

/// f'(x) dy.
template <Activation f>
struct Chain {
  __device__ float operator()(float x, float dy) const {
    if constexpr (f == Activation::gelu) {
      constexpr float kDensity = 0.39894228f;  // 1 / sqrt(2 π)
      return dy * (phi(x) + x * kDensity * expf(-0.5f * x * x));
    }
    if constexpr (f == Activation::relu) return x > 0.0f ? dy : 0.0f;
    const float s = sigmoid(x);
    if constexpr (f == Activation::silu) return dy * (s * (1.0f + x * (1.0f - s)));
    if constexpr (f == Activation::softplus) return x > 20.0f ? dy : dy * s;
    if constexpr (f == Activation::sigmoid) return dy * (s * (1.0f - s));
    if constexpr (f == Activation::tanh) return dy * (1.0f - tanhf(x) * tanhf(x));
    if constexpr (f == Activation::gelu_tanh) {
      const float t = tanhf(tanh_argument(x));
      const float slope = 0.79788456f * (1.0f + 3.0f * 0.044715f * x * x);
      return dy * (0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope);
    }
  }
};

/// y f(z)
template <Activation f>
struct Gated {
  __device__ float operator()(float y, float z) const { return y * Value<f>()(z, 0.0f); }
};

/// The gradients of y f(z), and of a b, for a gradient d.
template <Activation f>
struct GatedBackward {
  __device__ void operator()(float y, float z, float d, float& dy, float& dz) const {
    dy = d * Value<f>()(z, 0.0f);
    dz = y * Chain<f>()(z, d);
  }
};
struct ProductBackward {
  __device__ void operator()(float a, float b, float d, float& da, float& db) const {
    da = d * b;
    db = d * a;
  }
};

/// run(F<f>): the function that a number names.
template <template <Activation> class F, class Run>
void with_activation(Activation f, const Run& run) {
  switch (f) {
    case Activation::silu:
      return run(F<Activation::silu>{});
    case Activation::gelu:
      return run(F<Activation::gelu>{});
    case Activation::relu:
      return run(F<Activation::relu>{});
    case Activation::softplus:
      return run(F<Activation::softplus>{});
    case Activation::sigmoid:
      return run(F<Activation::sigmoid>{});
    case Activation::tanh:
      return run(F<Activation::tanh>{});
    case Activation::gelu_tanh:
      return run(F<Activation::gelu_tanh>{});
  }
}

}  // namespace

void add_cuda(const CudaCall& call, const Batched<float>& a, const Batched<float>& b,
              const Batched<float>& y) {
  map_elements_cuda(call, "add", a, b, {y, true, false}, Pointwise<Sum>{});
}

void copy_cuda(const CudaCall& call, const Batched<float>& from, const Gradient<float>& to) {
  map_elements_cuda(call, "copy", from, {}, to, Pointwise<First>{});
}

void multiply_cuda(const CudaCall& call, const Batched<float>& a, const Batched<float>& b,
                   const Batched<float>& y) {
  map_elements_cuda(call, "multiply", a, b, {y, true, false}, Pointwise<Product>{});
}

void multiply_backward_cuda(const CudaCall& call, const Batched<float>& a, const Batched<float>& b,
                            const Batched<float>& dy, const Gradient<float>& da,
                            const Gradient<float>& db) {
  pair_backward_cuda(call, "multiply_backward", {a, b, dy, da, db}, ProductBackward{});
}

void activate_cuda(const CudaCall& call, Activation f, const Batched<float>& x,
                   const Batched<float>& y) {
  with_activation<Value>(f, [&](auto value) {
    map_elements_cuda(call, "activate", x, {}, {y, true, false}, Pointwise<decltype(value)>{value});
  });
}

void activate_backward_cuda(const CudaCall& call, Activation f, const Batched<float>& x,
                            const Batched<float>& dy, const Gradient<float>& dx) {
  with_activation<Chain>(f, [&](auto chain) {
    map_elements_cuda(call, "activate_backward", x, dy, dx, Pointwise<decltype(chain)>{chain});
  });
}

void gate_cuda(const CudaCall& call, Activation f, const Batched<float>& y, const Batched<float>& z,
               const Batched<float>& out) {
  with_activation<Gated>(f, [&](auto gated) {
    map_elements_cuda(call, "gate", y, z, {out, true, false}, Pointwise<decltype(gated)>{gated});
  });
}

void gate_backward_cuda(const CudaCall& call, Activation f, const Batched<float>& y,
                        const Batched<float>& z, const Batched<float>& dout,
                        const Gradient<float>& dy, const Gradient<float>& dz) {
  with_activation<GatedBackward>(f, [&](auto backward) {
    pair_backward_cuda(call, "gate_backward", {y, z, dout, dy, dz}, backward);
  });
}

}  // namespace recallbench
