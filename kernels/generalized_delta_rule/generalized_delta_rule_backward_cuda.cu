// Walks back over the tokens with the gradient G of the state in registers, columns apart:
// dv = Gᵀ k, dr = Gᵀ b; leaves G at the chunks' ends. With r, dr, S and G a chunk is all that the
// second half needs for the other gradients.
// Floor: as forward's, whose way of sharing an item this is: reads q, k, g, κ, a, do and writes dv,
// dr and G once (B = 256, L = 256, H = 2 heads of 64: 0.40 GB, 100 us); 5 K V multiply-adds a token
// and head (2.7 G of them, 80 us).
#include "kernels/cuda/launch.cuh"
#include "kernels/generalized_delta_rule/chunks.cuh"
#include "kernels/generalized_delta_rule/keys.cuh"

namespace recallbench {
namespace {

/// Rows of keys [stage, span] and of values [stage, width].
struct ValueMemory {
  float *q, *k, *b, *decay, *kappa;
  float *dy, *removed;  // do, whose places take dv, and dr

  __device__ ValueMemory(float* memory, int span, int width)
      : q(memory),
        k(q + kWalkStage * span),
        b(k + kWalkStage * span),
        decay(b + kWalkStage * span),
        kappa(decay + kWalkStage * span),
        dy(kappa + kWalkStage * span),
        removed(dy + kWalkStage * width) {}
  __host__ __device__ static int numbers(int span, int width) {
    return kWalkStage * (5 * span + 2 * width);
  }
};

/// One token back: G += q doᵀ, dv = Gᵀ k, dr = Gᵀ b, G ← diag(e) G + κ drᵀ.
template <int Quads, int Lanes, int Across>
__device__ __forceinline__ void values_step(const ValueMemory& m, const WalkPlace& at, int t,
                                            float (&g)[Across][4 * Quads]) {
  const int row = t * 4 * Quads * Lanes;
  float* values = m.dy + t * at.width + walk_across<Lanes, Across>();
  float dy[Across], dv[Across] = {}, dr[Across] = {};
  walk_read(values, dy);
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const float4 q = walk_quad<Lanes>(m.q + row, n), k = walk_quad<Lanes>(m.k + row, n);
    const float4 b = walk_quad<Lanes>(m.b + row, n);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int h = 0; h < Across; ++h) {
        float& number = g[h][4 * n + i];
        number = fmaf(walk_number(q, i), dy[h], number);
        dv[h] = fmaf(walk_number(k, i), number, dv[h]);
        dr[h] = fmaf(walk_number(b, i), number, dr[h]);
      }
  }
  walk_sum<Lanes>(dr);
  walk_sum_parts<Lanes>(dv);
  __syncwarp();
  walk_write_part<Lanes>(dv, values);
  if (walk_writes<Lanes>()) walk_write(dr, m.removed + t * at.width + walk_across<Lanes, Across>());
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const float4 e = walk_quad<Lanes>(m.decay + row, n), kappa = walk_quad<Lanes>(m.kappa + row, n);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int h = 0; h < Across; ++h) {
        float& number = g[h][4 * n + i];
        number = fmaf(walk_number(e, i), number, walk_number(kappa, i) * dr[h]);
      }
  }
}

template <int Quads, int Lanes, int Across>
__global__ void __launch_bounds__(kWalkThreads)
    generalized_delta_values(GeneralizedDeltaRulePlan p, WalkShape shape,
                             GeneralizedDeltaRuleViews<float> in, Batched<float> dy,
                             Gradient<float> dv, Batched<float> dremoved, Batched<float> dstates,
                             bool quads) {
  after_previous();
  extern __shared__ float4 memory[];
  constexpr int kSpan = 4 * Quads * Lanes;
  const WalkPlace at(p, shape, p.values, 1, kWalkStage);
  // Of a token: one of two memories, by turns.
  const auto memory_of = [&](int token) {
    const int which = token / kWalkStage % 2;
    return ValueMemory(
        reinterpret_cast<float*>(memory) + which * ValueMemory::numbers(kSpan, at.width), kSpan,
        at.width);
  };
  const int keys = static_cast<int>(p.keys);
  const Index key = at.head * p.keys, value = at.head * p.values + at.first;
  const auto load = [&](int token) {
    if (token < 0) return;
    const ValueMemory m = memory_of(token);
    walk_load(m.q, kSpan, {in.q, at, token, key, keys, quads});
    walk_load(m.k, kSpan, {in.k, at, token, key, keys, quads});
    walk_load(m.b, kSpan, {in.rate, at, token, key, keys, quads});
    walk_load(m.kappa, kSpan, {in.removal, at, token, key, keys, quads});
    walk_load(m.decay, kSpan, {in.log_decay, at, token, key, keys, quads});
    walk_load(m.dy, at.width, {dy, at, token, value, at.count, quads});
  };
  float g[Across][4 * Quads] = {};
  const int last = (at.length - 1) / kWalkStage;
  load(last * kWalkStage);
  for (int token = last * kWalkStage; token >= 0; token -= kWalkStage) {
    const ValueMemory m = memory_of(token);
    walk_wait();
    walk_make_decays(m.decay, kWalkStage, kSpan);
    walk_make_b(m.b, m.kappa, kWalkStage, kSpan);
    __syncthreads();
    load(token - kWalkStage);
    const int end = token + kWalkStage;
    if (end < at.length && end % kWalkChunk == 0)
      walk_keep<Quads, Lanes, Across>(p, at, g, at.matrix(p, dstates, token / kWalkChunk), quads);
    for (int t = at.tokens(token) - 1; t >= 0; --t)
      values_step<Quads, Lanes, Across>(m, at, t, g);
    __syncthreads();
    if (dv.wanted)
      walk_store(m.dy, at.width, {dv.view, at, token, value, at.count, quads}, dv.accumulate);
    walk_store(m.removed, at.width, {dremoved, at, token, value, at.count, quads}, false);
  }
}

/// [R, rows, cols]; `scratch` moves on beyond it.
Batched<float> take(Index replicas, Index rows, Index cols, float*& scratch) {
  const Batched<float> taken{scratch, replicas, rows, cols, cols, rows * cols};
  scratch += replicas * rows * cols;
  return taken;
}

}  // namespace

Index generalized_delta_rule_cuda_scratch(const GeneralizedDeltaRulePlan& plan, Index replicas) {
  return replicas * plan.items() * plan.values * (plan.length + (plan.chunks() - 1) * plan.keys);
}

void generalized_delta_rule_backward_cuda(
    const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
    const GeneralizedDeltaRuleViews<float>& in, const GeneralizedDeltaRuleKept& kept,
    const Batched<float>& dy, const GeneralizedDeltaRuleGradients<float>& out, float* scratch) {
  const Index items = dy.replicas * plan.items();
  const KeyTensors tensors{
      dy,
      kept.removed,
      take(dy.replicas, plan.examples * plan.length, plan.heads * plan.values, scratch),
      kept.states,
      take(dy.replicas, plan.examples * (plan.chunks() - 1), plan.heads * plan.keys * plan.values,
           scratch),
      out};
  const bool quads = walk_in_quads(
      plan, {in.q, in.k, in.v, in.log_decay, in.removal, in.rate, kept.removed, kept.states, dy,
             tensors.dremoved, tensors.dstates, out.dq.view, out.dk.view, out.dv.view,
             out.dlog_decay.view, out.dremoval.view, out.drate.view});
  if (in_chunks(call, plan))
    return generalized_delta_chunks_backward_cuda(call, plan, in, kept, dy, out, quads);
  walk_dispatch(plan, items, [&](const WalkShape& shape, auto n, auto lanes, auto across) {
    constexpr int kQuads = decltype(n)::value, kLanes = decltype(lanes)::value;
    constexpr int kAcross = decltype(across)::value;
    walk_launch(call, "generalized_delta_values", generalized_delta_values<kQuads, kLanes, kAcross>,
                items, shape, 2 * ValueMemory::numbers(4 * kQuads * kLanes, shape.width), plan,
                shape, in, dy, out.dv, tensors.dremoved, tensors.dstates, quads);
  });
  generalized_delta_keys_cuda(call, plan, in, tensors, quads);
}

}  // namespace recallbench
