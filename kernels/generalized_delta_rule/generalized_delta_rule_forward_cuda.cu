// Floor: reads q, k, v, g, κ, a and writes o, and in training r and the state after every chunk but
// the last, once (B = 256, L = 256, H = 2 heads of 64: 0.40 GB, 100 us); a token and head takes
// 5 K V multiply-adds (2.7 G of them, 80 us), all of numbers in registers. An item is one warp,
// whose lanes have 16 keys of 8 values each, so that 640 multiply-adds of a token wait for 22
// pieces of shared memory and 22 shuffles; eight such warps fit on a multiprocessor and hide each
// other's waits. Few items have two warps each. The next tokens' rows are on their way meanwhile.
#include "kernels/cuda/launch.cuh"
#include "kernels/generalized_delta_rule/chunks.cuh"

namespace recallbench {
namespace {

struct Outputs {
  Batched<float> y;
  GeneralizedDeltaRuleKept kept;
};

/// Rows of keys [stage, span] and of values [stage, width], one after another.
struct Memory {
  float *kappa, *decay, *b, *k, *q;
  float *values, *removed;  // v, whose places take o

  __device__ Memory(float* memory, int span, int width)
      : kappa(memory),
        decay(kappa + kWalkStage * span),
        b(decay + kWalkStage * span),
        k(b + kWalkStage * span),
        q(k + kWalkStage * span),
        values(q + kWalkStage * span),
        removed(values + kWalkStage * width) {}
  __host__ __device__ static int numbers(int span, int width) {
    return kWalkStage * (5 * span + 2 * width);
  }
};

/// o of a token in place of its v, of which nobody has need any more.
template <int Lanes, int Across>
__device__ __forceinline__ void write_output(const Memory& m, const WalkPlace& at, int t,
                                             const float (&o)[Across]) {
  walk_write_part<Lanes>(o, m.values + t * at.width + walk_across<Lanes, Across>());
}

/// One token: r = Sᵀ κ, S ← diag(e) S + k vᵀ + b rᵀ, then o = Sᵀ q, of which each lane keeps its
/// share until the next token's sums are taken: so both wait for the same shuffles.
template <int Quads, int Lanes, int Across>
__device__ __forceinline__ void step(const Memory& m, const WalkPlace& at, int t,
                                     float (&state)[Across][4 * Quads], float (&o)[Across]) {
  const int row = t * 4 * Quads * Lanes;
  float v[Across], r[Across] = {};
  walk_read(m.values + t * at.width + walk_across<Lanes, Across>(), v);
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const float4 kappa = walk_quad<Lanes>(m.kappa + row, n);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int h = 0; h < Across; ++h)
        r[h] = fmaf(walk_number(kappa, i), state[h][4 * n + i], r[h]);
  }
  walk_sum<Lanes>(r);
  walk_sum_parts<Lanes>(o);
  __syncwarp();
  if (t > 0) write_output<Lanes>(m, at, t - 1, o);
  if (walk_writes<Lanes>()) walk_write(r, m.removed + t * at.width + walk_across<Lanes, Across>());
#pragma unroll
  for (int h = 0; h < Across; ++h)
    o[h] = 0;
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const float4 decay = walk_quad<Lanes>(m.decay + row, n), b = walk_quad<Lanes>(m.b + row, n);
    const float4 k = walk_quad<Lanes>(m.k + row, n), q = walk_quad<Lanes>(m.q + row, n);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int h = 0; h < Across; ++h) {
        float& s = state[h][4 * n + i];
        s = fmaf(walk_number(decay, i), s, fmaf(walk_number(k, i), v[h], walk_number(b, i) * r[h]));
        o[h] = fmaf(walk_number(q, i), s, o[h]);
      }
  }
}

template <int Quads, int Lanes, int Across>
__global__ void __launch_bounds__(kWalkThreads)
    generalized_delta_forward(GeneralizedDeltaRulePlan p, WalkShape shape,
                              GeneralizedDeltaRuleViews<float> in, Outputs out, bool quads) {
  after_previous();
  extern __shared__ float4 memory[];
  constexpr int kSpan = 4 * Quads * Lanes;
  const WalkPlace at(p, shape, p.values, 1, kWalkStage);
  // Of a token: one of two memories, by turns.
  const auto memory_of = [&](int token) {
    const int which = token / kWalkStage % 2;
    return Memory(reinterpret_cast<float*>(memory) + which * Memory::numbers(kSpan, at.width),
                  kSpan, at.width);
  };
  const int keys = static_cast<int>(p.keys);
  const Index key = at.head * p.keys, value = at.head * p.values + at.first;
  const auto load = [&](int token) {
    if (token >= at.length) return;
    const Memory m = memory_of(token);
    walk_load(m.kappa, kSpan, {in.removal, at, token, key, keys, quads});
    walk_load(m.b, kSpan, {in.rate, at, token, key, keys, quads});
    walk_load(m.decay, kSpan, {in.log_decay, at, token, key, keys, quads});
    walk_load(m.k, kSpan, {in.k, at, token, key, keys, quads});
    walk_load(m.q, kSpan, {in.q, at, token, key, keys, quads});
    walk_load(m.values, at.width, {in.v, at, token, value, at.count, quads});
  };
  float state[Across][4 * Quads] = {};
  load(0);
  for (int token = 0; token < at.length; token += kWalkStage) {
    const Memory m = memory_of(token);
    walk_wait();
    walk_make_decays(m.decay, kWalkStage, kSpan);
    walk_make_b(m.b, m.kappa, kWalkStage, kSpan);
    __syncthreads();
    load(token + kWalkStage);
    if (token > 0 && token % kWalkChunk == 0 && out.kept.states.data != nullptr)
      walk_keep<Quads, Lanes, Across>(p, at, state,
                                      at.matrix(p, out.kept.states, token / kWalkChunk - 1), quads);
    float o[Across] = {};
    const int tokens = at.tokens(token);
    for (int t = 0; t < tokens; ++t)
      step<Quads, Lanes, Across>(m, at, t, state, o);
    walk_sum_parts<Lanes>(o);
    write_output<Lanes>(m, at, tokens - 1, o);
    __syncthreads();
    walk_store(m.values, at.width, {out.y, at, token, value, at.count, quads}, false);
    if (out.kept.removed.data != nullptr)
      walk_store(m.removed, at.width, {out.kept.removed, at, token, value, at.count, quads}, false);
  }
}

}  // namespace

void generalized_delta_rule_forward_cuda(const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
                                         const GeneralizedDeltaRuleViews<float>& in,
                                         const Batched<float>& y,
                                         const GeneralizedDeltaRuleKept& kept) {
  const bool quads = walk_in_quads(
      plan, {in.q, in.k, in.v, in.log_decay, in.removal, in.rate, y, kept.removed, kept.states});
  if (in_chunks(call, plan))
    return generalized_delta_chunks_forward_cuda(call, plan, in, y, kept, quads);
  walk_dispatch(plan, y.replicas * plan.items(),
                [&](const WalkShape& shape, auto n, auto lanes, auto across) {
                  constexpr int kQuads = decltype(n)::value, kLanes = decltype(lanes)::value;
                  constexpr int kAcross = decltype(across)::value;
                  walk_launch(call, "generalized_delta_forward",
                              generalized_delta_forward<kQuads, kLanes, kAcross>,
                              y.replicas * plan.items(), shape,
                              2 * Memory::numbers(4 * kQuads * kLanes, shape.width), plan, shape,
                              in, Outputs{y, kept}, quads);
                });
}

}  // namespace recallbench
