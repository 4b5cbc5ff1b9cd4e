// Floor: reads x and dy once and writes dx, 0.2 GB, 48 us at B = 256, L = 256, H P = 256 (d_model
// 128), N = 16 and 4.2 TB/s, and 34 MB of shares of the gradients of b and c, one a head, that
// another kernel adds, 8 us. Products: 2.3 times those of forward (see there); their factors are
// some 270 KB of shared memory a chunk and head, 37 us of all multiprocessors, and a warp has some
// 2000 instructions a chunk, 35 us. The states before chunks are those that forward kept. The loads
// for the next chunk run beside what is left when all warps have used this one's, from the L2
// cache; three blocks share a multiprocessor.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/ssd/backward_chunk.cuh"
#include "kernels/ssd/ssd_cuda.h"

namespace recallbench {
namespace {

/// What chunk k reads, on its way; of its steps, none.
template <int N>
__device__ void begin_chunk(const SsdBackward& f, const SsdPlace& at, int k,
                            SsdBackwardChunk<N>& chunk) {
  const SsdBackwardPlaces places = chunk.places;  // all at once, before the copies
  const int t = k * kSsdChunk;
  ssd_copy_tokens(places.from.x, f.s, at, t, f.aligned.x, chunk.x);
  ssd_copy_tokens(places.dy, f.s, at, t, f.aligned.gradient, chunk.dy);
  ssd_copy_states<N>(places.from.b, f.s, f.states, t, f.aligned.b, chunk.b[k % 2]);
  ssd_copy_states<N>(places.from.c, f.s, f.states, t, f.aligned.c, chunk.c);
  if (k > 0)
    ssd_copy_async<N, kSsdChannels>(ssd_kept_state<N>(places.kept, k), kSsdChannels, N,
                                    kSsdChannels, true, chunk.state[0]);
  copies_end_group();
}

/// What chunk k reads, into the L2 cache: by a chunk's number of threads.
template <int N>
__device__ void prefetch_chunk(const SsdBackward& f, const SsdPlace& at,
                               const SsdBackwardPlaces& places, int k, int thread) {
  const int t = k * kSsdChunk;
  if (k > 0 && thread < N * kSsdChannels / 32)
    copy_to_l2(ssd_kept_state<N>(places.kept, k) + 32 * thread);
  if (thread >= ssd_rows(f.s, t)) return;
  ssd_prefetch_token(places.from.x, at.channels, t + thread);
  ssd_prefetch_token(places.dy, at.channels, t + thread);
  for (const SsdColumns* from : {&places.from.b, &places.from.c, &places.from.dt})
    copy_to_l2(from->token(t + thread));
}

template <Precision P, int N>
__global__ void __launch_bounds__(kSsdThreads, N <= 16 ? 3 : 2) ssd_backward(SsdBackward f) {
  after_previous();
  extern __shared__ __align__(16) float memory[];
  SsdBackwardChunk<N>& chunk = *reinterpret_cast<SsdBackwardChunk<N>*>(memory);
  constexpr Product kProduct = ssd_product(P);
  const SsdPlace at(f.s, f.parts);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int last = static_cast<int>(ssd_chunks(f.s)) - 1;
  chunk.places.template place<N>(f, at);
  __syncthreads();
  float dd[kSsdChannels / 16][2] = {}, da_log = 0, dbias = 0;
  for (int k = last + 1; k >= 0; --k) {  // chunk k, and the loads of the one before
    const SsdWarpTokens<P, N> own{f, at, chunk, k, at.tokens_of(warp, k)};
    float db[N / 8][4], dc[N / 8][4];
    clear(db);
    clear(dc);
    SsdStateFragments<N> dstate = {};  // kept in shared memory from chunk to chunk
    if (k <= last) {
      copies_wait<0>();
      __syncthreads();
      // By the two warps with fewer pairs.
      if (k > 0 && own.block >= kSsdWarps / 2)
        prefetch_chunk<N>(f, at, chunk.places, k - 1, 32 * (own.block - kSsdWarps / 2) + lane);
      own.inputs_back(k < last, db, dd);
      float logs[2] = {}, dot = 0;
      if (k > 0) {
        own.outputs_back(dc, logs);
        const SsdSteps& steps = chunk.steps[k % 2];
        ssd_load_state<N>(chunk.dstate, dstate);
        dot = warp_sum(ssd_state_dot<N>(dstate, chunk.state));
        ssd_advance<kProduct, N>(steps.over_chunk(), steps.since_start, chunk.c, chunk.dy, dstate);
        if (own.block == kSsdWarps - 1)
          chunk.steps[(k - 1) % 2].load(f.s, chunk.places.from, (k - 1) * kSsdChunk);
      }
      own.store_rows(logs, chunk.output_log);
      if (lane == 0) chunk.dots[warp] = dot;
      __syncthreads();  // all have used all but b, and the scores' gradients are there
    }
    if (k > 0) begin_chunk(f, at, k - 1, chunk);
    if (k > last) {
      if (warp == 0) {
        chunk.places.from.load(f.in, at);
        chunk.steps[last % 2].load(f.s, chunk.places.from, last * kSsdChunk);
      }
      ssd_load_skips(f.s, f.in.d, at, f.states.first == 0, chunk.skips);
      ssd_store_state<N>(dstate, chunk.dstate[0], kSsdStride);
      continue;
    }
    own.scores_back(dc);
    own.store_shares(db, dc);
    if (k > 0) ssd_store_state<N>(dstate, chunk.dstate[0], kSsdStride);
    if (own.block == 0) own.steps_back(da_log, dbias);
  }
  ssd_store_rates(f, at, da_log, dbias, chunk);
  if (f.states.first == 0) ssd_store_skips(f, at, dd, chunk);
}

}  // namespace

Index ssd_cuda_scratch(Index replicas, const SsdSize& s) {
  const SsdShareSizes sizes(replicas, s);
  return sizes.tokens + sizes.steps + sizes.rates + sizes.skips;
}

Index ssd_kept_states(const SsdSize& s) {
  return ssd_chunks(s) - 1;
}
Index ssd_kept_numbers(const SsdSize& s) {
  return s.heads * ssd_parts(s) * ((s.states + 15) / 16 * 16) * kSsdChannels;
}

void ssd_backward_cuda(const CudaCall& call, const SsdSize& s, const SsdViews<float>& in,
                       const Batched<float>& kept, const Batched<float>& dy,
                       const SsdGradients<float>& out, float* scratch) {
  const SsdShareSizes sizes(dy.replicas, s);
  SsdShares shares{};
  shares.tokens = scratch;
  shares.steps = shares.tokens + sizes.tokens;
  shares.rates = shares.steps + sizes.steps;
  shares.skips = shares.rates + sizes.rates;
  const Index parts = ssd_parts(s), blocks = dy.replicas * s.examples * s.heads * parts;
  for (Index first = 0; first < s.states; first += kSsdMostStates) {
    const SsdBackward f{
        s,     ssd_states(s, first), SsdAligned(s, in, dy, out.x.view), parts, in, dy, kept, out,
        shares};
    ssd_dispatch(call.precision, f.states.width, [&](auto p, auto n) {
      constexpr Precision kPrecision = p();
      constexpr int kStates = n();
      constexpr int kBytes = sizeof(SsdBackwardChunk<kStates>);
      const auto kernel = ssd_backward<kPrecision, kStates>;
      cuda_allow_shared(kernel, kBytes, "ssd_backward");
      cuda_prefer_shared(kernel);
      cuda_launch("ssd_backward", kernel,
                  {static_cast<unsigned>(blocks), kSsdThreads, kBytes, call.stream}, f);
    });
    ssd_add_shares_cuda(call, dy.replicas, s, f.states, out, shares);
  }
}

}  // namespace recallbench
