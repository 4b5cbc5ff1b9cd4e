// Floor: reads x and writes y, b and c once a head: 33 us at B = 256, L = 256, H P = 256 (d_model
// 128) and 4.2 TB/s. Products: per token and head 2 (32 (N + P) / 2 + 2 N P) FLOPs, 2.7 GFLOP at
// N = 16, P = 64, H = 4, 50 us of FFMA, whose factors come from shared memory.
#include "kernels/ssd/chunks.cuh"
#include "kernels/ssd/ssd_cuda.h"

namespace recallbench {
namespace {

/// Shared memory of a block.
template <int N>
struct Chunk {
  SsdSteps steps;
  SsdTokens x;
  SsdStateRows<N> b, c;
  SsdSquare weights;  // scores ⊙ decays Δ_s for s <= t, else 0
  SsdState<N> state;  // before the chunk
};

template <int N>
__device__ void make_weights(Chunk<N>& chunk) {
  float score[SsdPairs::kRows][1] = {}, decay[SsdPairs::kRows];
  ssd_add<SsdPairs, true, false>(0, N, chunk.c, chunk.b, score);
  ssd_decays(chunk.steps, decay);
  SsdPairs::for_each([&](int i, int, int t, int s) {
    chunk.weights[t][s] = score[i][0] * decay[i] * chunk.steps.delta[s];
  });
}

/// y of a chunk that begins at token t0, or y += that without the skip.
template <int N>
__device__ void write_outputs(const Chunk<N>& chunk, const SsdSize& s, const SsdPlace& at, Index t0,
                              bool first_states, const Batched<float>& d, const Batched<float>& y) {
  using Tile = SsdTile<kSsdChunk, kSsdChannels>;
  float sum[Tile::kRows][Tile::kColumns] = {};
  ssd_add<Tile, true, true>(0, N, chunk.c, chunk.state, sum);
  Tile::for_each([&](int i, int j, int t, int) { sum[i][j] *= chunk.steps.since_start[t]; });
  ssd_add<Tile, true, true>(0, Tile::row(Tile::kRows - 1) + 1, chunk.weights, chunk.x, sum);
  Tile::for_each([&](int i, int j, int t, int p) {
    if (t0 + t >= s.length || p >= at.channels) return;
    float* to = ssd_row(y, at.replica, at.row + t0 + t) + at.channel + p;
    *to = sum[i][j] + (first_states ? ssd_skip(s, d, at, p) * chunk.x[t][p] : *to);
  });
}

template <int N>
__global__ void __launch_bounds__(kSsdThreads)
    ssd_forward(SsdSize s, SsdStates states, Index parts, SsdViews<float> in, Batched<float> y) {
  extern __shared__ __align__(16) float memory[];
  Chunk<N>& chunk = *reinterpret_cast<Chunk<N>*>(memory);
  using Tile = SsdTile<N, kSsdChannels>;
  const SsdPlace at(s, parts);
  const float rate = expf(ssd_row(in.a_log, at.replica, 0)[at.head]);
  float state[Tile::kRows][Tile::kColumns] = {};
  for (Index c = 0; c < ssd_chunks(s); ++c) {
    const Index t = c * kSsdChunk;
    __syncthreads();  // all have read the chunk before
    chunk.steps.load(s, in, at, t, rate);
    ssd_load_tokens(in.x, s, at, t, chunk.x);
    ssd_load_states<N>(in.b, s, at, states, t, chunk.b);
    ssd_load_states<N>(in.c, s, at, states, t, chunk.c);
    Tile::for_each([&](int i, int j, int n, int p) { chunk.state[n][p] = state[i][j]; });
    __syncthreads();
    make_weights(chunk);
    __syncthreads();
    write_outputs(chunk, s, at, t, states.first == 0, in.d, y);
    ssd_advance<N>(chunk.steps, chunk.b, chunk.x, state);
  }
}

}  // namespace

void ssd_forward_cuda(const CudaCall& call, const SsdSize& s, const SsdViews<float>& in,
                      const Batched<float>& y) {
  const Index parts = ssd_parts(s), blocks = y.replicas * s.examples * s.heads * parts;
  for (Index first = 0; first < s.states; first += kSsdMostStates) {
    const SsdStates states = ssd_states(s, first);
    ssd_dispatch(states.width, [&](auto n) {
      constexpr int kStates = n();
      constexpr int kBytes = sizeof(Chunk<kStates>);
      cuda_check(cudaFuncSetAttribute(ssd_forward<kStates>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
                 "cudaFuncSetAttribute");
      ssd_forward<kStates><<<static_cast<unsigned>(blocks), kSsdThreads, kBytes, call.stream>>>(
          s, states, parts, in, y);
      cuda_check_launch("ssd_forward");
    });
  }
}

}  // namespace recallbench
