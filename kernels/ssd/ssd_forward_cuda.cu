// Floor: reads x and writes y, b and c once a head, these mostly from L2: 0.15 GB, 36 us at B =
// 256, L = 256, H P = 256 (d_model 128), N = 16 and 4.2 TB/s. Products: per token and head
// 2 (40 (N + P) + 2 N P) FLOPs, since pairs that see each other are taken in squares of 16: 2.8
// GFLOP, 10 us of tensor cores; their factors are some 110 KB of shared memory a chunk and head, 15
// us of all multiprocessors, and a warp has some 900 instructions a chunk, 16 us. The next chunk's
// x is on its way while this one is used, its b and c while y is stored, from the L2 cache; four
// blocks share a multiprocessor.
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
  float skips[kSsdChannels];
  SsdSources from;
  SsdColumns y;
  float* kept;
};

struct Forward {
  SsdSize s;
  SsdStates states;
  SsdAligned aligned;
  Index parts;
  SsdViews<float> in;
  Batched<float> y, kept;  // kept: states, or empty
};

/// y, without the skip, of the warp's tokens `own` to own + 16 of chunk k.
template <Precision P, int N>
__device__ void outputs(const Chunk<N>& chunk, int k, int own, SsdSums& y) {
  constexpr Product kProduct = ssd_product(P);
  constexpr int kStride = N + kSsdPad;
  const SsdTokens& x = chunk.x[k % 2];
  const SsdSteps& steps = chunk.steps[k % 2];
  const int row = own + lane_row(), column = 2 * lane_column();
  const SsdRows<kProduct, N> c(chunk.c[own], kStride);
  const auto add_seen = [&](auto diagonal, int first, float passing) {
    float w[2][4];  // scores ⊙ decays Δ_s for s <= t, else 0
    clear(w);
    c.add_product(w, chunk.b[first], kStride);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const int s = first + 8 * n + column;
      const float2 factors =
          *reinterpret_cast<const float2*>(diagonal ? &steps.delta[s] : &steps.leaving_delta[s]);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float factor = e % 2 == 0 ? factors.x : factors.y;
        const int t = row + e / 2 * 8;
        if constexpr (!diagonal)
          w[n][e] *= passing * factor;
        else if (n > e / 2)
          w[n][e] = 0;
        else {
          const float decayed = w[n][e] * steps.between(s + e % 2, t) * factor;
          w[n][e] = n < e / 2 || s + e % 2 <= t ? decayed : 0.0f;
        }
      }
    }
    SsdWeights<kProduct>(w).add_product(y, x[first]);
  };
  // From earlier blocks and chunks: decays by way of the last of the 16 seen, over the blocks
  // between and from the first of the warp's own.
  float passing = 1;
#pragma unroll 1
  for (int first = own - 16; first >= 0; first -= 16) {
    add_seen(std::false_type{}, first, passing);
    passing *= steps.over_block(first);
  }
  if (k > 0) ssd_state_product<kProduct, N>(y, passing, chunk.c[own], chunk.state);
  ssd_scale(y, steps.arriving + own);
  add_seen(std::true_type{}, own, 1);
}

template <Precision P, int N>
__global__ void __launch_bounds__(kSsdThreads, N <= 16 ? 4 : 3) ssd_forward(Forward f) {
  after_previous();
  extern __shared__ __align__(16) float memory[];
  Chunk<N>& chunk = *reinterpret_cast<Chunk<N>*>(memory);
  constexpr bool kRounded = P == Precision::tf32;  // b and the state, in shared memory
  const SsdPlace at(f.s, f.parts);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int chunks = static_cast<int>(ssd_chunks(f.s));
  if (threadIdx.x == 0) chunk.from.place(f.in, at, at.group * f.s.states + f.states.first);
  if (threadIdx.x == 32) {
    chunk.y = ssd_columns(f.y, at, at.channel);
    chunk.kept = ssd_kept_states<N>(f.kept, f.s, at, f.states);
  }
  __syncthreads();
  const auto begin_tokens = [&](int k) {
    ssd_copy_tokens(chunk.from.x, f.s, at, k * kSsdChunk, f.aligned.x, chunk.x[k % 2]);
  };
  const auto begin_states = [&](int k) {
    const SsdColumns b = chunk.from.b, c = chunk.from.c;  // both at once, before the copies
    ssd_copy_states<N>(b, f.s, f.states, k * kSsdChunk, f.aligned.b, chunk.b);
    ssd_copy_states<N>(c, f.s, f.states, k * kSsdChunk, f.aligned.c, chunk.c);
    copies_end_group();
  };
  begin_tokens(0);
  begin_states(0);
  if (warp == 0) {
    chunk.from.load(f.in, at);
    chunk.steps[0].load(f.s, chunk.from, 0);
  }
  ssd_load_skips(f.s, f.in.d, at, f.states.first == 0, chunk.skips);
  SsdStateFragments<N> state = {};
  for (int k = 0; k < chunks; ++k) {
    const bool more = k + 1 < chunks;
    copies_wait<0>();
    if constexpr (kRounded)
      ssd_round_copied<kSsdChunk, N>(ssd_rows(f.s, k * kSsdChunk), f.aligned.b, &chunk.b[0][0]);
    __syncthreads();
    const int own = 16 * at.tokens_of(warp, k);
    if (more) {
      begin_tokens(k + 1);
      const int t = (k + 1) * kSsdChunk, row = 2 * (own - 16) + lane;
      if (row >= 0 && row < ssd_rows(f.s, t))  // by two warps that have less to do
        for (const SsdColumns* from : {&chunk.from.b, &chunk.from.c, &chunk.from.dt})
          copy_to_l2(from->token(t + row));
    }
    SsdSums y = {};
    outputs<P>(chunk, k, own, y);
    if (more) {
      if (own == 0) chunk.steps[(k + 1) % 2].load(f.s, chunk.from, (k + 1) * kSsdChunk);
      const SsdSteps& steps = chunk.steps[k % 2];
      ssd_advance<ssd_product(P), N>(steps.over_chunk(), steps.entering, chunk.b, chunk.x[k % 2],
                                     state);
      __syncthreads();  // all have used b, c and the state
      begin_states(k + 1);
    }
    SsdOutput{chunk.y, f.states.first > 0, f.aligned.output}.store(f.s, at, k * kSsdChunk, own, y,
                                                                   chunk.skips, chunk.x[k % 2]);
    if (!more) break;
    ssd_store_state<N, kRounded>(state, chunk.state[0], kSsdStride);
    if (f.kept.data != nullptr)
      ssd_store_state<N>(state, ssd_kept_state<N>(chunk.kept, k + 1), kSsdChannels);
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
