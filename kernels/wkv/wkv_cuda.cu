// Floor: forward reads k and v and writes y, backward reads k, v, dy and writes dk and dv, once
// each (B = 256, L = 256, C = 128: 101 and 168 MB, 24 and 40 us). A thread walks one channel of
// one example in chunks of 16 tokens, which it loads at once; forward loads a chunk ahead.
// Backward computes the sums before each token again, from those that forward kept before each
// chunk (3/16 of a tensor). Estimated from the latencies along the chain, a token takes about 50
// cycles forward and 120 backward: 8 and 18 us for 256 tokens, below the floor at B C = 32768,
// above it where fewer channels than about 16000 are there.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/wkv/wkv_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 128;
constexpr int kChunk = 16;

// Exponents start here: e^(this - anything) is 0.
constexpr float kNone = -1e38f;

Index chunks_of(const WkvSize& s) {
  return (s.length + kChunk - 1) / kChunk;
}

/// A thread's place.
struct Place {
  Index replica, example, channel, row;  // row: the example's first
  bool inside;

  __device__ explicit Place(const WkvSize& s) {
    const auto index = blockIdx.x * static_cast<std::uint32_t>(kThreads) + threadIdx.x;
    const auto channels = static_cast<std::uint32_t>(s.channels);
    replica = blockIdx.y;
    example = index / channels;
    channel = index % channels;
    row = example * s.length;
    inside = example < s.examples;
  }
  __device__ float* at(const Batched<float>& m, Index i) const {
    return m.data + replica * m.replica_stride + i * m.stride + channel;
  }
};

using Tokens = float[kChunk];

/// The channel's numbers of `count` tokens from row `first` on, zeros beyond them.
__device__ void load(const Batched<float>& from, const Place& at, Index first, int count,
                     Tokens& to) {
  const float* place = at.at(from, first);
#pragma unroll
  for (int i = 0; i < kChunk; ++i)
    to[i] = i < count ? place[i * from.stride] : 0.0f;
}

/// e^(a - m) and e^(b - m) with m = max(a, b), from one exponential.
struct Relative {
  float a, b, m;
  __device__ Relative(float first, float second) : m(fmaxf(first, second)) {
    const float smaller = __expf(-fabsf(first - second));
    // A NaN compares false and takes the exponential, which passes it on.
    const bool first_is_larger = first >= second;
    a = first_is_larger ? 1.0f : smaller;
    b = first_is_larger ? smaller : 1.0f;
  }
};

/// Sums p = Σ e^{..} v and q = Σ e^{..}, both times e^{-o}.
struct Sums {
  float p = 0, q = 0, o = kNone;

  __device__ void advance(float w, float k, float v) {
    const Relative e(w + o, k);
    p = e.a * p + e.b * v;
    q = e.a * q + e.b;
    o = e.m;
  }
};

struct Chunk {
  Tokens k, v;
  __device__ void read(const WkvSize& s, const WkvViews<float>& in, const Place& at, Index t) {
    const int count = static_cast<int>(min(s.length - t, Index{kChunk}));
    load(in.k, at, at.row + t, count, k);
    load(in.v, at, at.row + t, count, v);
  }
};

__global__ void __launch_bounds__(kThreads)
    wkv_forward(WkvSize s, WkvViews<float> in, Batched<float> y, Batched<float> states) {
  after_previous();
  const Place at(s);
  if (!at.inside) return;
  const float w = -expf(*at.at(in.time_decay, 0)), u = *at.at(in.time_first, 0);
  Sums sums;
  Chunk now, next;
  next.read(s, in, at, 0);
  Index kept = at.example * ((s.length - 1) / kChunk);
  for (Index t = 0; t < s.length; t += kChunk) {
    now = next;
    if (t + kChunk < s.length) next.read(s, in, at, t + kChunk);
    const int count = static_cast<int>(min(s.length - t, Index{kChunk}));
    float* to = at.at(y, at.row + t);
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      if (i >= count) break;
      const Relative e(sums.o, u + now.k[i]);
      to[i * y.stride] = (e.a * sums.p + e.b * now.v[i]) / (e.a * sums.q + e.b);
      sums.advance(w, now.k[i], now.v[i]);
    }
    if (states.data == nullptr || t + kChunk >= s.length) continue;
    float* state = at.at(states, kept++);
    state[0] = sums.p;
    state[s.channels] = sums.q;
    state[2 * s.channels] = sums.o;
  }
}

__device__ void store(const Gradient<float>& to, const Place& at, Index row, float value) {
  if (!to.wanted) return;
  float* place = at.at(to.view, row);
  *place = to.accumulate ? *place + value : value;
}

/// A channel on its way back. With D the denominator, n = dy / D, P and Q the gradients of p and q
/// from later tokens:
///   dv_t = n e^{u+k} + P e^k,   s = n e^{u+k} (v - y),   dk_t = s + e^k (P v + Q),   du += s,
///   dw += e^w (P p + Q q),   P ← e^w P + n,   Q ← e^w Q - n y.
/// P and Q are carried times e^{-rho}; every exponent that is formed is at most 0.
struct WayBack {
  float dp = 0, dq = 0, dw = 0, du = 0, rho = kNone;

  /// `sums` are those before the token.
  __device__ void step(const Sums& sums, float w, float u, float k, float v, float dy, float& dk,
                       float& dv) {
    const Relative e(sums.o, u + k);
    const float inverse = 1.0f / (e.a * sums.q + e.b);
    const float y = (e.a * sums.p + e.b * v) * inverse, n = dy * inverse;
    const float share = n * e.b * (v - y), later = __expf(k + rho);
    dv = n * e.b + dp * later;
    dk = share + later * (dp * v + dq);
    du += share;
    dw += __expf(w + rho + sums.o) * (dp * sums.p + dq * sums.q);
    const Relative next(w + rho, -e.m);
    dp = next.a * dp + next.b * n;
    dq = next.a * dq - next.b * n * y;
    rho = next.m;
  }
};

/// The example's shares of dtime_decay and dtime_first go to parts [R, B, 2, C], unless null.
__global__ void __launch_bounds__(kThreads)
    wkv_backward(WkvSize s, WkvViews<float> in, Batched<float> states, Batched<float> dy,
                 WkvGradients<float> out, float* parts) {
  after_previous();
  __shared__ float before[kChunk][3][kThreads];  // p, q, o; each thread has its own
  const Place at(s);
  if (!at.inside) return;
  const float w = -expf(*at.at(in.time_decay, 0)), u = *at.at(in.time_first, 0);
  const Index most = (s.length - 1) / kChunk;
  WayBack back;
  for (Index chunk = most; chunk >= 0; --chunk) {
    const Index t = chunk * kChunk, row = at.row + t;
    const int count = static_cast<int>(min(s.length - t, Index{kChunk}));
    Chunk now;
    Tokens d;
    now.read(s, in, at, t);
    load(dy, at, row, count, d);
    Sums sums;
    if (chunk > 0) {
      const float* state = at.at(states, at.example * most + chunk - 1);
      sums.p = state[0];
      sums.q = state[s.channels];
      sums.o = state[2 * s.channels];
    }
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      before[i][0][threadIdx.x] = sums.p;
      before[i][1][threadIdx.x] = sums.q;
      before[i][2][threadIdx.x] = sums.o;
      sums.advance(w, now.k[i], now.v[i]);  // what lies beyond the sequence is not read
    }
#pragma unroll
    for (int i = kChunk - 1; i >= 0; --i) {
      if (i >= count) continue;
      const Sums then{before[i][0][threadIdx.x], before[i][1][threadIdx.x],
                      before[i][2][threadIdx.x]};
      float dk, dv;
      back.step(then, w, u, now.k[i], now.v[i], d[i], dk, dv);
      store(out.k, at, row + i, dk);
      store(out.v, at, row + i, dv);
    }
  }
  if (parts == nullptr) return;
  float* part = parts + (at.replica * s.examples + at.example) * 2 * s.channels + at.channel;
  part[0] = back.dw * w;
  part[s.channels] = back.du;
}

dim3 blocks_of(const WkvSize& s, Index replicas) {
  const Index count = s.examples * s.channels;
  check(count < Index{1} << 31, "wkv", "more channels than a GPU kernel counts");
  return dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads),
              static_cast<unsigned>(replicas));
}

}  // namespace

Index wkv_kept_states(const WkvSize& s) {
  return chunks_of(s) - 1;
}

Index wkv_cuda_scratch(Index replicas, const WkvSize& s) {
  return replicas * s.examples * 2 * s.channels;
}

void wkv_forward_cuda(const CudaCall& call, const WkvSize& s, const WkvViews<float>& in,
                      const Batched<float>& y, const Batched<float>& states) {
  cuda_launch("wkv_forward", wkv_forward, {blocks_of(s, y.replicas), kThreads, 0, call.stream}, s,
              in, y, states);
}

void wkv_backward_cuda(const CudaCall& call, const WkvSize& s, const WkvViews<float>& in,
                       const Batched<float>& states, const Batched<float>& dy,
                       const WkvGradients<float>& out, float* scratch) {
  float* parts = out.time_decay.wanted || out.time_first.wanted ? scratch : nullptr;
  cuda_launch("wkv_backward", wkv_backward, {blocks_of(s, dy.replicas), kThreads, 0, call.stream},
              s, in, states, dy, out, parts);
  sum_partials_cuda(call, dy.replicas,
                    {parts, s.examples, s.channels, s.channels, out.time_decay, out.time_first});
}

}  // namespace recallbench
