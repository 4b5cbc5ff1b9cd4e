// Floor: reads x and writes y, b and c once a head, these mostly from L2: 0.15 GB, 36 us at B =
// 256, L = 256, H P = 256 (d_model 128), N = 16 and 4.2 TB/s. Products: per token and head
// 2 (40 (N + P) + 2 N P) FLOPs, since pairs that see each other are taken in squares of 16: 2.8
// GFLOP, 10 us of tensor cores; their factors are some 170 KB of shared memory a chunk and head, 23
// us of all multiprocessors. The next chunk's x is on its way while this one is used, its b and c
// as far as the L2 cache, and four blocks share a multiprocessor.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/ssd/products.cuh"
#include "kernels/ssd/ssd_cuda.h"

namespace recallbench {
namespace {

/// Shared memory of a block.
template <int N>
struct Chunk {
  SsdTokens x[2];  // of even and odd chunks
  SsdStateRows<N> b, c;
  SsdState<N> state;  // before the chunk
  SsdSteps steps[2];
};

struct Forward {
  SsdSize s;
  SsdStates states;
  SsdAligned aligned;
  Index parts;
  SsdViews<float> in;
  Batched<float> y, kept;  // kept: states, or empty
};

/// y of the warp's tokens, `own` to own + 16, of chunk k; or y += that without the skip.
template <Precision P, int N>
__device__ void write_outputs(const Forward& f, const SsdPlace& at, const Chunk<N>& chunk, Index k,
                              int own) {
  constexpr Product kProduct = ssd_product(P);
  constexpr int kStride = N + kSsdPad;
  const SsdTokens& x = chunk.x[k % 2];
  const SsdSteps& steps = chunk.steps[k % 2];
  const int row = own + lane_row(), column = 2 * lane_column();
  float y[kSsdChannels / 8][4];
  clear(y);
  if (k > 0) {
    ssd_mixed_product<kProduct>(y, chunk.c[own], kStride, chunk.state[0], kSsdStride, N);
#pragma unroll
    for (int n = 0; n < kSsdChannels / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        y[n][e] *= steps.since_start[row + e / 2 * 8];
  }
  const SsdRows<kProduct, N> c(chunk.c[own], kStride);
  for (int first = 0; first <= own; first += 16) {
    float w[2][4];  // scores ⊙ decays Δ_s for s <= t, else 0
    clear(w);
    c.add_product(w, chunk.b[first], kStride);
    if (first < own) {  // by way of the last of the 16 seen
      const float upper = steps.between(first + 15, row),
                  lower = steps.between(first + 15, row + 8);
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int s = first + 8 * n + column + e % 2;
          w[n][e] *= (e < 2 ? upper : lower) * (steps.leaving[s] * steps.delta[s]);
        }
    } else {
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int t = row + e / 2 * 8, s = first + 8 * n + column + e % 2;
          const float decayed = w[n][e] * steps.between(s, t) * steps.delta[s];
          w[n][e] = s <= t ? decayed : 0.0f;
        }
    }
    fragment_product<kProduct>(y, w[0], w[1], x[first], kSsdStride);
  }
  const bool first_states = f.states.first == 0;
  SsdOutput{f.y, !first_states, f.aligned.output, first_states}.store(f.s, at, f.in.d,
                                                                      k * kSsdChunk, own, y, x);
}

template <Precision P, int N>
__global__ void __launch_bounds__(kSsdThreads, N <= 16 ? 4 : 3) ssd_forward(Forward f) {
  after_previous();
  extern __shared__ __align__(16) float memory[];
  Chunk<N>& chunk = *reinterpret_cast<Chunk<N>*>(memory);
  constexpr bool kRounded = P == Precision::tf32;  // b and the state, in shared memory
  const SsdPlace at(f.s, f.parts);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const float rate = expf(ssd_row(f.in.a_log, at.replica, 0)[at.head]);
  const Index chunks = ssd_chunks(f.s);
  const auto begin_tokens = [&](Index k) {
    ssd_copy_tokens(f.in.x, f.s, at, k * kSsdChunk, f.aligned.x, chunk.x[k % 2]);
  };
  const auto begin_states = [&](Index k) {
    ssd_copy_states<N>(f.in.b, f.s, at, f.states, k * kSsdChunk, f.aligned.b, chunk.b);
    ssd_copy_states<N>(f.in.c, f.s, at, f.states, k * kSsdChunk, f.aligned.c, chunk.c);
    copies_end_group();
  };
  begin_tokens(0);
  begin_states(0);
  if (warp == 0) chunk.steps[0].load(f.s, f.in, at, 0, rate);
  SsdStateFragments<N> state = {};
  for (Index k = 0; k < chunks; ++k) {
    const bool more = k + 1 < chunks;
    copies_wait<0>();
    if constexpr (kRounded)
      ssd_round_copied<kSsdChunk, N>(ssd_rows(f.s, k * kSsdChunk), f.aligned.b, &chunk.b[0][0]);
    __syncthreads();
    if (more) {
      begin_tokens(k + 1);
      for (const Batched<float>& m : {f.in.b, f.in.c})
        ssd_prefetch(m, f.s, at, (k + 1) * kSsdChunk, at.group * f.s.states + f.states.first,
                     f.states.width);
    }
    const int own = 16 * at.tokens_of(warp, k);
    write_outputs<P>(f, at, chunk, k, own);
    if (!more) break;
    if (own == 0) chunk.steps[(k + 1) % 2].load(f.s, f.in, at, (k + 1) * kSsdChunk, rate);
    const SsdSteps& steps = chunk.steps[k % 2];
    ssd_advance<ssd_product(P), N>(steps.over_chunk(), steps.entering, chunk.b, chunk.x[k % 2],
                                   state);
    __syncthreads();  // all have used b, c and the state
    begin_states(k + 1);
    ssd_store_state<N, kRounded>(state, chunk.state[0], kSsdStride);
    if (f.kept.data != nullptr)
      ssd_store_state<N>(state, ssd_kept_state<N>(f.kept, f.s, at, f.states, k + 1), kSsdChannels);
  }
}

}  // namespace

void ssd_forward_cuda(const CudaCall& call, const SsdSize& s, const SsdViews<float>& in,
                      const Batched<float>& y, const Batched<float>& kept) {
  const Index parts = ssd_parts(s), blocks = y.replicas * s.examples * s.heads * parts;
  for (Index first = 0; first < s.states; first += kSsdMostStates) {
    const Forward f{s, ssd_states(s, first), SsdAligned(s, in, {}, y), parts, in, y, kept};
    ssd_dispatch(call.precision, f.states.width, [&](auto p, auto n) {
      constexpr Precision kPrecision = p();
      constexpr int kStates = n();
      constexpr int kBytes = sizeof(Chunk<kStates>);
      const auto kernel = ssd_forward<kPrecision, kStates>;
      cuda_allow_shared(kernel, kBytes, "ssd_forward");
      cuda_prefer_shared(kernel);
      cuda_launch("ssd_forward", kernel,
                  {static_cast<unsigned>(blocks), kSsdThreads, kBytes, call.stream}, f);
    });
  }
}

}  // namespace recallbench
