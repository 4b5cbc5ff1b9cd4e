// Floor: reads x and dy twice and once, writes dx: 65 us at B = 256, L = 256, H P = 256 (d_model
// 128) and 4.2 TB/s; products two and a half times those of forward (see there) and the states once
// more. First the states before all chunks go to scratch, then the chunks backward. Gradients of b
// and c are sums over a group's heads: each head leaves its share.
#include "kernels/cuda/reduce.cuh"
#include "kernels/ssd/chunks.cuh"
#include "kernels/ssd/shares.cuh"
#include "kernels/ssd/ssd_cuda.h"

namespace recallbench {
namespace {

constexpr int kWarps = kSsdThreads / 32;

/// Shared memory of a block. Sums that make the gradients of ln a and Δ: of rows, of columns by
/// each warp, and of the state.
template <int N>
struct Chunk {
  SsdSteps steps;
  SsdTokens x, dy;
  SsdStateRows<N> b, c;
  SsdSquare weights, dscores;
  SsdState<N> state, dstate;  // before the chunk; the gradient after it
  float row_log[kSsdChunk], output_log[kSsdChunk], products[kSsdChunk];
  float column_log[kWarps][kSsdChunk], column_delta[kWarps][kSsdChunk];
  float dots[kWarps];
};

template <int N>
using StateTile = SsdTile<N, kSsdChannels>;
using TokenTile = SsdTile<kSsdChunk, kSsdChannels>;

__device__ float* state_of(const SsdShares& shares, const SsdSize& s, Index chunk, int states) {
  return shares.states + (blockIdx.x * ssd_chunks(s) + chunk) * states * kSsdChannels;
}

/// The states before the chunks after the first, to scratch.
template <int N>
__device__ void make_states(Chunk<N>& chunk, const SsdSize& s, const SsdPlace& at,
                            const SsdStates& states, const SsdViews<float>& in, float rate,
                            const SsdShares& shares) {
  using Tile = StateTile<N>;
  float state[Tile::kRows][Tile::kColumns] = {};
  for (Index c = 0; c + 1 < ssd_chunks(s); ++c) {
    __syncthreads();  // all have read the chunk before
    chunk.steps.load(s, in, at, c * kSsdChunk, rate);
    ssd_load_tokens(in.x, s, at, c * kSsdChunk, chunk.x);
    ssd_load_states<N>(in.b, s, at, states, c * kSsdChunk, chunk.b);
    __syncthreads();
    ssd_advance<N>(chunk.steps, chunk.b, chunk.x, state);
    float* to = state_of(shares, s, c + 1, N);
    Tile::for_each([&](int i, int j, int n, int p) { to[n * kSsdChannels + p] = state[i][j]; });
  }
}

/// Weights and dscores, and what the weights' gradients add to those of ln a and Δ.
template <int N>
__device__ void pairs_back(Chunk<N>& chunk) {
  constexpr int kRows = SsdPairs::kRows;
  float score[kRows][1] = {}, dweight[kRows][1] = {}, decay[kRows];
  ssd_add<SsdPairs, true, false>(0, N, chunk.c, chunk.b, score);
  ssd_add<SsdPairs, true, false>(0, kSsdChannels, chunk.dy, chunk.x, dweight);
  ssd_decays(chunk.steps, decay);
  const int s = SsdPairs::column(0), warp = threadIdx.x / 32;
  const float delta = chunk.steps.delta[s];
  float column_log = 0, column_delta = 0;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int t = SsdPairs::row(i);
    const float through = dweight[i][0] * decay[i];
    chunk.weights[t][s] = score[i][0] * decay[i] * delta;
    chunk.dscores[t][s] = through * delta;
    column_delta += through * score[i][0];
    // The diagonal has no decay: what it would add and take away cancels.
    const float change = s < t ? through * score[i][0] * delta : 0.0f;
    column_log -= change;
    const float sum = warp_sum(change);
    if (s == 0) chunk.row_log[t] = sum;
  }
  chunk.column_log[warp][s] = column_log;
  chunk.column_delta[warp][s] = column_delta;
}

/// dx of a chunk that begins at token t0, and dd.
template <int N>
__device__ void inputs_back(const Chunk<N>& chunk, const SsdSize& s, const SsdPlace& at, Index t0,
                            bool first_states, const Batched<float>& d, const Gradient<float>& dx,
                            float (&dd)[TokenTile::kColumns]) {
  float sum[TokenTile::kRows][TokenTile::kColumns] = {};
  ssd_add<TokenTile, true, true>(0, N, chunk.b, chunk.dstate, sum);
  TokenTile::for_each([&](int i, int j, int r, int) { sum[i][j] *= chunk.steps.entering[r]; });
  ssd_add<TokenTile, false, true>(TokenTile::row(0), kSsdChunk, chunk.weights, chunk.dy, sum);
  TokenTile::for_each([&](int i, int j, int r, int p) {
    const float dy = chunk.dy[r][p];
    dd[j] += dy * chunk.x[r][p];
    if (t0 + r >= s.length || p >= at.channels) return;
    ssd_store(dx, at.replica, at.row + t0 + r, at.channel + p, dx.accumulate || !first_states,
              sum[i][j] + (first_states ? ssd_skip(s, d, at, p) * dy : 0.0f));
  });
}

/// The block's share of the gradient of b (which = 0) or c (1) of a chunk.
template <int N>
__device__ void store_share(const SsdSize& s, const SsdPlace& at, const SsdStates& states, Index t0,
                            int which, int t, int n, float* tokens, float value) {
  if (t0 + t >= s.length || n >= states.width) return;
  const Index row =
      (at.replica * s.heads * at.parts + at.head_part()) * s.examples * s.length + at.row + t0 + t;
  tokens[(2 * row + which) * states.width + n] = value;
}

/// Through y_t = a_0 ... a_t Sᵀ c_t and the scores: dc.
template <int N>
__device__ void outputs_back(Chunk<N>& chunk, const SsdSize& s, const SsdPlace& at,
                             const SsdStates& states, Index t0, float* tokens) {
  using Tile = SsdTile<kSsdChunk, N>;
  float sum[Tile::kRows][Tile::kColumns] = {};
  ssd_add<Tile, true, false>(0, kSsdChannels, chunk.dy, chunk.state, sum);
#pragma unroll
  for (int i = 0; i < Tile::kRows; ++i) {
    const int t = Tile::row(i);
    const float decay = chunk.steps.since_start[t];
    float dot = 0;
#pragma unroll
    for (int j = 0; j < Tile::kColumns; ++j) {
      sum[i][j] *= decay;
      dot += chunk.c[t][Tile::column(j)] * sum[i][j];
    }
    dot = warp_sum<Tile::kAcross>(dot);
    if (Tile::column(0) == 0) chunk.output_log[t] = dot;
  }
  ssd_add<Tile, true, true>(0, Tile::row(Tile::kRows - 1) / 4 * 4 + 4, chunk.dscores, chunk.b, sum);
  Tile::for_each([&](int i, int j, int t, int n) {
    store_share<N>(s, at, states, t0, 1, t, n, tokens, sum[i][j]);
  });
}

/// Through what each token leaves in the state after the chunk, and the scores: db.
template <int N>
__device__ void entering_back(Chunk<N>& chunk, const SsdSize& s, const SsdPlace& at,
                              const SsdStates& states, Index t0, float* tokens) {
  using Tile = SsdTile<kSsdChunk, N>;
  float sum[Tile::kRows][Tile::kColumns] = {};
  ssd_add<Tile, true, false>(0, kSsdChannels, chunk.x, chunk.dstate, sum);
#pragma unroll
  for (int i = 0; i < Tile::kRows; ++i) {
    const int r = Tile::row(i);
    float dot = 0;
#pragma unroll
    for (int j = 0; j < Tile::kColumns; ++j) {
      dot += chunk.b[r][Tile::column(j)] * sum[i][j];
      sum[i][j] *= chunk.steps.entering[r];
    }
    dot = warp_sum<Tile::kAcross>(dot);
    if (Tile::column(0) == 0) chunk.products[r] = dot;
  }
  ssd_add<Tile, false, true>(Tile::row(0) / 4 * 4, kSsdChunk, chunk.dscores, chunk.c, sum);
  Tile::for_each([&](int i, int j, int r, int n) {
    store_share<N>(s, at, states, t0, 0, r, n, tokens, sum[i][j]);
  });
}

/// To dt, dt_bias and a_log, by the first warp: ln a_r = -exp(a_log) Δ_r acts on all that crosses
/// token r, `since`. da_log and dbias are the lane's.
template <int N>
__device__ void steps_back(const Chunk<N>& chunk, const SsdSize& s, const SsdPlace& at, Index t0,
                           float rate, bool first_states, const Gradient<float>& dt, float* shares,
                           float& da_log, float& dbias) {
  const int i = threadIdx.x;
  const float entering = chunk.steps.entering[i] * chunk.products[i];
  float since = chunk.row_log[i] + chunk.output_log[i];
  float ddelta = chunk.steps.to_end[i] * chunk.products[i];
  float over = 0;
  for (int w = 0; w < kWarps; ++w) {
    since += chunk.column_log[w][i];
    ddelta += chunk.column_delta[w][i];
    over += chunk.dots[w];
  }
  float earlier = entering;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float after = __shfl_down_sync(0xffffffffu, since, offset);
    const float before = __shfl_up_sync(0xffffffffu, earlier, offset);
    if (i + offset < 32) since += after;
    if (i >= offset) earlier += before;
  }
  earlier = __shfl_up_sync(0xffffffffu, earlier, 1);  // of the tokens before
  since += (i > 0 ? earlier : 0.0f) + chunk.steps.over_chunk() * over;
  if (t0 + i >= s.length) return;
  da_log -= since * rate * chunk.steps.delta[i];
  const float x = chunk.steps.before[i], slope = x > 20.0f ? 1.0f : 1.0f / (1.0f + expf(-x));
  const float step = slope * (ddelta - rate * since);
  dbias += step;
  const Index row = at.row + t0 + i;
  if (at.parts == 1)
    ssd_store(dt, at.replica, row, at.head, dt.accumulate || !first_states, step);
  else
    shares[((at.replica * at.parts + at.part) * s.examples * s.length + row) * s.heads + at.head] =
        step;
}

/// The example's shares of dd: `dd` are the thread's columns of a token tile.
template <int N>
__device__ void store_skips(Chunk<N>& chunk, const SsdSize& s, const SsdPlace& at,
                            const float (&dd)[TokenTile::kColumns], float* shares) {
  __syncthreads();  // x is read no more
#pragma unroll
  for (int j = 0; j < TokenTile::kColumns; ++j)
    chunk.x[threadIdx.x / 32][TokenTile::column(j)] = dd[j];
  __syncthreads();
  const bool by_head = s.skips == s.heads;
  const int p = threadIdx.x;
  float sum = 0;
  if (p < kSsdChannels)
    for (int w = 0; w < kWarps; ++w)
      sum += chunk.x[w][p];
  if (!by_head) {
    if (p < at.channels)
      shares[(at.replica * s.examples + at.example) * s.skips + at.channel + p] = sum;
    return;
  }
  sum = warp_sum(sum);
  if (p < kSsdChannels && p % 32 == 0) chunk.dots[p / 32] = sum;
  __syncthreads();
  if (p == 0)
    shares[((at.replica * s.examples + at.example) * at.parts + at.part) * s.heads + at.head] =
        chunk.dots[0] + chunk.dots[1];
}

template <int N>
__device__ void load_chunk(Chunk<N>& chunk, const SsdSize& s, const SsdPlace& at,
                           const SsdStates& states, Index c, const SsdViews<float>& in,
                           const Batched<float>& dy, float rate, const SsdShares& shares) {
  const Index t = c * kSsdChunk;
  chunk.steps.load(s, in, at, t, rate);
  ssd_load_tokens(in.x, s, at, t, chunk.x);
  ssd_load_tokens(dy, s, at, t, chunk.dy);
  ssd_load_states<N>(in.b, s, at, states, t, chunk.b);
  ssd_load_states<N>(in.c, s, at, states, t, chunk.c);
  const float* from = state_of(shares, s, c, N);
  StateTile<N>::for_each([&](int, int, int n, int p) {  // as the thread wrote them
    chunk.state[n][p] = c > 0 ? from[n * kSsdChannels + p] : 0.0f;
  });
}

template <int N>
__global__ void __launch_bounds__(kSsdThreads)
    ssd_backward(SsdSize s, SsdStates states, Index parts, SsdViews<float> in, Batched<float> dy,
                 SsdGradients<float> out, SsdShares shares) {
  extern __shared__ __align__(16) float memory[];
  Chunk<N>& chunk = *reinterpret_cast<Chunk<N>*>(memory);
  using Tile = StateTile<N>;
  const SsdPlace at(s, parts);
  const bool first_states = states.first == 0;
  const float rate = expf(ssd_row(in.a_log, at.replica, 0)[at.head]);
  make_states(chunk, s, at, states, in, rate, shares);
  float dstate[Tile::kRows][Tile::kColumns] = {}, dd[TokenTile::kColumns] = {};
  float da_log = 0, dbias = 0;
  for (Index c = ssd_chunks(s) - 1; c >= 0; --c) {
    const Index t = c * kSsdChunk;
    __syncthreads();  // all have read the chunk before
    load_chunk(chunk, s, at, states, c, in, dy, rate, shares);
    float dot = 0;
    Tile::for_each([&](int i, int j, int n, int p) {
      chunk.dstate[n][p] = dstate[i][j];
      dot += dstate[i][j] * chunk.state[n][p];
    });
    dot = warp_sum(dot);
    if (threadIdx.x % 32 == 0) chunk.dots[threadIdx.x / 32] = dot;
    __syncthreads();
    pairs_back(chunk);
    __syncthreads();
    inputs_back(chunk, s, at, t, first_states, in.d, out.x, dd);
    outputs_back(chunk, s, at, states, t, shares.tokens);
    entering_back(chunk, s, at, states, t, shares.tokens);
    Tile::for_each([&](int i, int j, int, int) { dstate[i][j] *= chunk.steps.over_chunk(); });
    ssd_add<Tile, false, true>(0, kSsdChunk, chunk.c, chunk.dy, dstate, chunk.steps.since_start);
    __syncthreads();
    if (threadIdx.x < 32)
      steps_back(chunk, s, at, t, rate, first_states, out.dt, shares.steps, da_log, dbias);
  }
  if (threadIdx.x < 32) {
    da_log = warp_sum(da_log);
    dbias = warp_sum(dbias);
    float* to = shares.rates +
                ((at.replica * s.examples + at.example) * parts + at.part) * 2 * s.heads + at.head;
    if (threadIdx.x == 0) {
      to[0] = da_log;
      to[s.heads] = dbias;
    }
  }
  if (first_states) store_skips(chunk, s, at, dd, shares.skips);
}

}  // namespace

Index ssd_cuda_scratch(Index replicas, const SsdSize& s) {
  const SsdShareSizes sizes(replicas, s);
  return sizes.states + sizes.tokens + sizes.steps + sizes.rates + sizes.skips;
}

void ssd_backward_cuda(const CudaCall& call, const SsdSize& s, const SsdViews<float>& in,
                       const Batched<float>& dy, const SsdGradients<float>& out, float* scratch) {
  const SsdShareSizes sizes(dy.replicas, s);
  SsdShares shares{};
  shares.states = scratch;
  shares.tokens = shares.states + sizes.states;
  shares.steps = shares.tokens + sizes.tokens;
  shares.rates = shares.steps + sizes.steps;
  shares.skips = shares.rates + sizes.rates;
  const Index parts = ssd_parts(s), blocks = dy.replicas * s.examples * s.heads * parts;
  for (Index first = 0; first < s.states; first += kSsdMostStates) {
    const SsdStates states = ssd_states(s, first);
    ssd_dispatch(states.width, [&](auto n) {
      constexpr int kStates = n();
      constexpr int kBytes = sizeof(Chunk<kStates>);
      cuda_check(cudaFuncSetAttribute(ssd_backward<kStates>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
                 "cudaFuncSetAttribute");
      ssd_backward<kStates><<<static_cast<unsigned>(blocks), kSsdThreads, kBytes, call.stream>>>(
          s, states, parts, in, dy, out, shares);
      cuda_check_launch("ssd_backward");
    });
    ssd_add_shares_cuda(call, dy.replicas, s, states, out, shares);
  }
}

}  // namespace recallbench
