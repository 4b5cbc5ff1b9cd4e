// Two kernels walk over the tokens; nothing is kept of the state but what the forward pass removed.
//   values: back, with the gradient G of the state, columns apart: dv = Gᵀ k, dr = -Gᵀ b.
//   keys: forth with S and then back with G, rows apart, which dr makes independent: dq = S do and
//     κ's part S_{t-1} dr on the way forth, dk = G v and db = -G r on the way back.
// The gradient of a decay, e ⊙ (G ⊙ S_{t-1}) 1, is made without the state:
//   dg_t = x_t + q ⊙ dq - b ⊙ db - k ⊙ dk,   x_{t-1} = dg_t + κ ⊙ (S_{t-1} dr),
// with x_t = (G' ⊙ S_t) 1 of the gradient G' that tokens after t have. A decay near 0 thus has an
// absolute error as large as the others' last digit; every kWalkBoundary tokens x is made of S,
// which the way forth left there, so that no error goes further. Floor: reads q, k, v, g, κ, a, r,
// do and writes six gradients once (B = 256, L = 256, H = 2 heads of 64: 0.47 GB); a token and head
// takes 15 K V multiply-adds (8 G of them), all in registers.
#include "kernels/generalized_delta_rule/walk.cuh"

namespace recallbench {
namespace {

constexpr int kWalkBoundary = 64;
static_assert(kWalkBoundary % kWalkTokens == 0);

constexpr Index boundaries(Index length) {
  return (length - 1) / kWalkBoundary;
}

/// Rows of the kernel `values`: of keys [16, span] and of values [16, width].
struct ValueMemory {
  float *q, *k, *b, *decay, *kappa;
  float *dy, *removed;  // do, whose places take dv, and dr

  __device__ ValueMemory(float* memory, int span, int width)
      : q(memory),
        k(q + kWalkTokens * span),
        b(k + kWalkTokens * span),
        decay(b + kWalkTokens * span),
        kappa(decay + kWalkTokens * span),
        dy(kappa + kWalkTokens * span),
        removed(dy + kWalkTokens * width) {}
  static int numbers(int span, int width) { return kWalkTokens * (5 * span + 2 * width); }
};

/// One token back: G += q doᵀ, dv = Gᵀ k, dr = -Gᵀ b, G ← diag(e) G + κ drᵀ.
template <int Quads, int Lanes>
__device__ __forceinline__ void values_step(const ValueMemory& m, const WalkPlace& at, int t,
                                            float (&g)[kWalkAcross][4 * Quads]) {
  const int row = t * 4 * Quads * Lanes;
  float* values = m.dy + t * at.width + at.across;
  float dy[kWalkAcross], dv[kWalkAcross] = {}, dr[kWalkAcross] = {};
#pragma unroll
  for (int h = 0; h < kWalkAcross; ++h)
    dy[h] = values[h];
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const float4 q = walk_quad<Lanes>(m.q + row, n), k = walk_quad<Lanes>(m.k + row, n);
    const float4 b = walk_quad<Lanes>(m.b + row, n);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int h = 0; h < kWalkAcross; ++h) {
        float& number = g[h][4 * n + i];
        number += walk_number(q, i) * dy[h];
        dv[h] += walk_number(k, i) * number;
        dr[h] -= walk_number(b, i) * number;
      }
  }
  walk_sum<Lanes>(dr);
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const float4 e = walk_quad<Lanes>(m.decay + row, n), kappa = walk_quad<Lanes>(m.kappa + row, n);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int h = 0; h < kWalkAcross; ++h) {
        float& number = g[h][4 * n + i];
        number = walk_number(e, i) * number + walk_number(kappa, i) * dr[h];
      }
  }
  walk_sum<Lanes>(dv);
  __syncwarp();
  if (!at.writes) return;
#pragma unroll
  for (int h = 0; h < kWalkAcross; ++h) {
    values[h] = dv[h];
    m.removed[t * at.width + at.across + h] = dr[h];
  }
}

template <int Quads, int Lanes>
__global__ void __launch_bounds__(kWalkThreads)
    generalized_delta_values(GeneralizedDeltaRulePlan p, WalkShape shape,
                             GeneralizedDeltaRuleViews<float> in, Batched<float> dy,
                             Gradient<float> dv, Batched<float> dremoved, bool quads) {
  extern __shared__ float4 memory[];
  constexpr int kSpan = 4 * Quads * Lanes;
  const WalkPlace at(p, shape, p.values, Lanes);
  const ValueMemory m(reinterpret_cast<float*>(memory), kSpan, at.width);
  const int keys = static_cast<int>(p.keys);
  const Index key = at.head * p.keys, value = at.head * p.values + at.first;
  float g[kWalkAcross][4 * Quads] = {};
  for (int token = at.last_rows(); token >= 0; token -= kWalkTokens) {
    walk_load(m.q, kSpan, {in.q, at, token, key, keys, quads});
    walk_load(m.k, kSpan, {in.k, at, token, key, keys, quads});
    walk_load(m.b, kSpan, {in.rate, at, token, key, keys, quads});
    walk_load(m.kappa, kSpan, {in.removal, at, token, key, keys, quads});
    walk_load_decays(m.decay, kSpan, {in.log_decay, at, token, key, keys, quads});
    walk_load(m.dy, at.width, {dy, at, token, value, at.count, quads});
    walk_multiply(m.b, m.kappa, kSpan);
    __syncthreads();
    for (int t = at.tokens(token) - 1; t >= 0; --t)
      values_step<Quads, Lanes>(m, at, t, g);
    __syncthreads();
    if (dv.wanted)
      walk_store(m.dy, at.width, {dv.view, at, token, value, at.count, quads}, dv.accumulate);
    walk_store(m.removed, at.width, {dremoved, at, token, value, at.count, quads}, false);
  }
}

/// What the kernel `keys` reads and writes besides the inputs. `states` has those at boundaries, as
/// the threads hold them.
struct KeyTensors {
  Batched<float> dy, removed, dremoved;
  Batched<float> dq, dkappa;  ///< [R, B·L, H·K]: dq, and S_{t-1} dr
  float* states;
  GeneralizedDeltaRuleGradients<float> out;
};

/// Its rows: of values [16, span] and of keys [16, width].
struct KeyMemory {
  float *v, *removed, *dy, *dremoved;
  float *q, *k, *decay, *kappa, *rate;
  float *dq, *dkappa;

  __device__ KeyMemory(float* memory, int span, int width) : v(memory) {
    removed = v + kWalkTokens * span;
    dy = removed + kWalkTokens * span;
    dremoved = dy + kWalkTokens * span;
    q = dremoved + kWalkTokens * span;
    k = q + kWalkTokens * width;
    decay = k + kWalkTokens * width;
    kappa = decay + kWalkTokens * width;
    rate = kappa + kWalkTokens * width;
    dq = rate + kWalkTokens * width;
    dkappa = dq + kWalkTokens * width;
  }
  static int numbers(int span, int width) { return kWalkTokens * (4 * span + 7 * width); }
};

/// A block of the kernel `keys`.
struct KeyBlock {
  const GeneralizedDeltaRuleViews<float>& in;
  const KeyTensors& x;
  const WalkPlace& at;
  const KeyMemory& m;
  Index key, value;
  int span, values;
  bool quads;

  __device__ WalkRows of_keys(const Batched<float>& tensor, int token) const {
    return {tensor, at, token, key, at.count, quads};
  }
  __device__ WalkRows of_values(const Batched<float>& tensor, int token) const {
    return {tensor, at, token, value, values, quads};
  }
  /// What both ways read.
  __device__ void load(int token) const {
    walk_load(m.v, span, of_values(in.v, token));
    walk_load(m.removed, span, of_values(x.removed, token));
    walk_load(m.dy, span, of_values(x.dy, token));
    walk_load(m.dremoved, span, of_values(x.dremoved, token));
    walk_load(m.k, at.width, of_keys(in.k, token));
    walk_load_decays(m.decay, at.width, of_keys(in.log_decay, token));
    walk_load(m.kappa, at.width, of_keys(in.removal, token));
    walk_load(m.rate, at.width, of_keys(in.rate, token));
  }
  __device__ void store(const float* from, const Gradient<float>& to, int token) const {
    if (to.wanted) walk_store(from, at.width, of_keys(to.view, token), to.accumulate);
  }
  /// This thread's number 0 of the state at boundary `n`; the next is blockDim.x further.
  __device__ float* state(int n, int numbers) const {
    const Index before = blockIdx.x * boundaries(at.length) + n;
    return x.states + before * numbers * blockDim.x + threadIdx.x;
  }
};

/// One token forth: κ's part S dr; S ← diag(e) S - b rᵀ + k vᵀ; dq = S do.
template <int Quads, int Lanes>
__device__ __forceinline__ void forth_step(const KeyMemory& m, const WalkPlace& at, int t,
                                           float (&state)[kWalkAcross][4 * Quads]) {
  const int row = t * 4 * Quads * Lanes, place = t * at.width + at.across;
  float e[kWalkAcross], k[kWalkAcross], b[kWalkAcross];
  float dq[kWalkAcross] = {}, dkappa[kWalkAcross] = {};
#pragma unroll
  for (int h = 0; h < kWalkAcross; ++h) {
    e[h] = m.decay[place + h];
    k[h] = m.k[place + h];
    b[h] = m.kappa[place + h] * m.rate[place + h];
  }
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const float4 v = walk_quad<Lanes>(m.v + row, n), r = walk_quad<Lanes>(m.removed + row, n);
    const float4 dy = walk_quad<Lanes>(m.dy + row, n), dr = walk_quad<Lanes>(m.dremoved + row, n);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int h = 0; h < kWalkAcross; ++h) {
        float& s = state[h][4 * n + i];
        dkappa[h] += walk_number(dr, i) * s;
        s = e[h] * s + (k[h] * walk_number(v, i) - b[h] * walk_number(r, i));
        dq[h] += walk_number(dy, i) * s;
      }
  }
  walk_sum<Lanes>(dkappa);
  walk_sum<Lanes>(dq);
  if (!at.writes) return;
#pragma unroll
  for (int h = 0; h < kWalkAcross; ++h) {
    m.dq[place + h] = dq[h];
    m.dkappa[place + h] = dkappa[h];
  }
}

template <int Quads, int Lanes>
__device__ void walk_forth(const KeyBlock& block) {
  const KeyMemory& m = block.m;
  const WalkPlace& at = block.at;
  constexpr int kNumbers = kWalkAcross * 4 * Quads;
  float state[kWalkAcross][4 * Quads] = {};
  for (int token = 0; token < at.length; token += kWalkTokens) {
    if (token > 0 && token % kWalkBoundary == 0) {
      float* to = block.state(token / kWalkBoundary - 1, kNumbers);
#pragma unroll
      for (int i = 0; i < kNumbers; ++i)
        to[i * blockDim.x] = state[i / (4 * Quads)][i % (4 * Quads)];
    }
    block.load(token);
    __syncthreads();
    for (int t = 0; t < at.tokens(token); ++t)
      forth_step<Quads, Lanes>(m, at, t, state);
    __syncthreads();
    block.store(m.dq, block.x.out.dq, token);
    walk_store(m.dq, at.width, block.of_keys(block.x.dq, token), false);
    walk_store(m.dkappa, at.width, block.of_keys(block.x.dkappa, token), false);
  }
}

/// One token back: G += q doᵀ, dk = G v, db = -G r, G ← diag(e) G + κ drᵀ; all that follows.
template <int Quads, int Lanes>
__device__ __forceinline__ void back_step(const KeyMemory& m, const WalkPlace& at, int t,
                                          float (&g)[kWalkAcross][4 * Quads],
                                          float (&passed)[kWalkAcross]) {
  const int row = t * 4 * Quads * Lanes, place = t * at.width + at.across;
  float q[kWalkAcross], e[kWalkAcross], kappa[kWalkAcross];
  float dk[kWalkAcross] = {}, db[kWalkAcross] = {};
#pragma unroll
  for (int h = 0; h < kWalkAcross; ++h) {
    q[h] = m.q[place + h];
    e[h] = m.decay[place + h];
    kappa[h] = m.kappa[place + h];
  }
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const float4 v = walk_quad<Lanes>(m.v + row, n), r = walk_quad<Lanes>(m.removed + row, n);
    const float4 dy = walk_quad<Lanes>(m.dy + row, n), dr = walk_quad<Lanes>(m.dremoved + row, n);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int h = 0; h < kWalkAcross; ++h) {
        float& number = g[h][4 * n + i];
        number += q[h] * walk_number(dy, i);
        dk[h] += number * walk_number(v, i);
        db[h] -= number * walk_number(r, i);
        number = e[h] * number + kappa[h] * walk_number(dr, i);
      }
  }
  walk_sum<Lanes>(dk);
  walk_sum<Lanes>(db);
  __syncwarp();
  if (!at.writes) return;
#pragma unroll
  for (int h = 0; h < kWalkAcross; ++h) {
    const float k = m.k[place + h], rate = m.rate[place + h], part = m.dkappa[place + h];
    const float dg = passed[h] + (q[h] * m.dq[place + h] - kappa[h] * rate * db[h] - k * dk[h]);
    passed[h] = dg + kappa[h] * part;
    m.k[place + h] = dk[h];
    m.dq[place + h] = dg;
    m.kappa[place + h] = part + rate * db[h];
    m.rate[place + h] = kappa[h] * db[h];
  }
}

template <int Quads, int Lanes>
__device__ void walk_back(const KeyBlock& block) {
  const KeyMemory& m = block.m;
  const WalkPlace& at = block.at;
  const GeneralizedDeltaRuleGradients<float>& out = block.x.out;
  constexpr int kNumbers = kWalkAcross * 4 * Quads;
  float g[kWalkAcross][4 * Quads] = {}, passed[kWalkAcross] = {};
  for (int token = at.last_rows(); token >= 0; token -= kWalkTokens) {
    const int end = token + kWalkTokens;
    if (end < at.length && end % kWalkBoundary == 0) {
      const float* state = block.state(end / kWalkBoundary - 1, kNumbers);
#pragma unroll
      for (int h = 0; h < kWalkAcross; ++h) {
        passed[h] = 0;
#pragma unroll
        for (int i = 0; i < 4 * Quads; ++i)
          passed[h] += g[h][i] * state[(h * 4 * Quads + i) * blockDim.x];
      }
      walk_sum<Lanes>(passed);
    }
    block.load(token);
    walk_load(m.q, at.width, block.of_keys(block.in.q, token));
    walk_load(m.dq, at.width, block.of_keys(block.x.dq, token));
    walk_load(m.dkappa, at.width, block.of_keys(block.x.dkappa, token));
    __syncthreads();
    for (int t = at.tokens(token) - 1; t >= 0; --t)
      back_step<Quads, Lanes>(m, at, t, g, passed);
    __syncthreads();
    block.store(m.k, out.dk, token);
    block.store(m.dq, out.dlog_decay, token);
    block.store(m.kappa, out.dremoval, token);
    block.store(m.rate, out.drate, token);
  }
}

template <int Quads, int Lanes>
__global__ void __launch_bounds__(kWalkThreads)
    generalized_delta_keys(GeneralizedDeltaRulePlan p, WalkShape shape,
                           GeneralizedDeltaRuleViews<float> in, KeyTensors tensors, bool quads) {
  extern __shared__ float4 memory[];
  constexpr int kSpan = 4 * Quads * Lanes;
  const WalkPlace at(p, shape, p.keys, Lanes);
  const KeyMemory m(reinterpret_cast<float*>(memory), kSpan, at.width);
  const KeyBlock block{in,
                       tensors,
                       at,
                       m,
                       at.head * p.keys + at.first,
                       at.head * p.values,
                       kSpan,
                       static_cast<int>(p.values),
                       quads};
  walk_forth<Quads, Lanes>(block);
  walk_back<Quads, Lanes>(block);
}

Index state_numbers(const GeneralizedDeltaRulePlan& p, Index replicas) {
  Index numbers = 0;
  walk_dispatch(p.values, p.keys, [&](const WalkShape& shape, auto quads, auto) {
    numbers = replicas * p.items() * shape.tiles * boundaries(p.length) * shape.threads *
              kWalkAcross * 4 * decltype(quads)::value;
  });
  return numbers;
}

/// [R, B·L, cols]; `scratch` moves on beyond it.
Batched<float> take(const GeneralizedDeltaRulePlan& p, Index replicas, Index cols,
                    float*& scratch) {
  const Index rows = p.examples * p.length;
  const Batched<float> taken{scratch, replicas, rows, cols, cols, rows * cols};
  scratch += replicas * rows * cols;
  return taken;
}

}  // namespace

Index generalized_delta_rule_cuda_scratch(const GeneralizedDeltaRulePlan& plan, Index replicas) {
  return replicas * plan.examples * plan.length * plan.heads * (plan.values + 2 * plan.keys) +
         state_numbers(plan, replicas);
}

void generalized_delta_rule_backward_cuda(const CudaCall& call,
                                          const GeneralizedDeltaRulePlan& plan,
                                          const GeneralizedDeltaRuleViews<float>& in,
                                          const Batched<float>& removed, const Batched<float>& dy,
                                          const GeneralizedDeltaRuleGradients<float>& out,
                                          float* scratch) {
  const Batched<float> dremoved = take(plan, dy.replicas, plan.heads * plan.values, scratch);
  const Batched<float> dq = take(plan, dy.replicas, plan.heads * plan.keys, scratch);
  const Batched<float> dkappa = take(plan, dy.replicas, plan.heads * plan.keys, scratch);
  const bool quads =
      walk_in_quads(plan, {in.q, in.k, in.v, in.log_decay, in.removal, in.rate, removed, dy,
                           dremoved, dq, dkappa, out.dq.view, out.dk.view, out.dv.view,
                           out.dlog_decay.view, out.dremoval.view, out.drate.view});
  const Index items = dy.replicas * plan.items();
  walk_dispatch(plan.keys, plan.values, [&](const WalkShape& shape, auto n, auto lanes) {
    constexpr int kQuads = decltype(n)::value, kLanes = decltype(lanes)::value;
    walk_launch(call, "generalized_delta_values", generalized_delta_values<kQuads, kLanes>, items,
                shape, ValueMemory::numbers(4 * kQuads * kLanes, shape.width), plan, shape, in, dy,
                out.dv, dremoved, quads);
  });
  const KeyTensors tensors{dy, removed, dremoved, dq, dkappa, scratch, out};
  walk_dispatch(plan.values, plan.keys, [&](const WalkShape& shape, auto n, auto lanes) {
    constexpr int kQuads = decltype(n)::value, kLanes = decltype(lanes)::value;
    walk_launch(call, "generalized_delta_keys", generalized_delta_keys<kQuads, kLanes>, items,
                shape, KeyMemory::numbers(4 * kQuads * kLanes, shape.width), plan, shape, in,
                tensors, quads);
  });
}

}  // namespace recallbench
