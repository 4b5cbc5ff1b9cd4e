// Floor: reads x, dt and dy, writes dx and ddt: 40 us at B = 256, L = 256, C = 128 and 4.2 TB/s;
// for each token, channel and state at least twelve multiplications and additions, 55 us at N = 16.
// The states are computed twice: chunk by chunk backward, from the kept state before the chunk to
// those before each piece of four tokens, then from piece to piece, whose states and decays stay in
// registers; with loads, sums across lanes and what a token's channel costs that makes some 29
// instructions, 130 us. A thread adds its channels' parts of db and dc and its states' parts of dx
// and ddt in registers; shuffles share what is left between tokens and states. The lanes that end
// with a channel's sums write its dx and ddt; blocks of 64 channels leave shares of db and dc.
#include <algorithm>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/selective_scan/scan_back.cuh"
#include "kernels/selective_scan/selective_scan_cuda.h"

namespace recallbench {
namespace {

/// Shares: tokens [R, channel blocks, B L, 2, width], channels [R, B, C width + C].
struct Shares {
  float *tokens, *channels;
};

/// The block's shares of db and dc of a chunk: its warps', in order.
template <int P>
__device__ void finish_tokens(const ScanBackChunk<P>& chunk, const ScanSize& s,
                              const ScanBackPlace<P>& at, Index t, const ScanStates& states,
                              float* tokens) {
  constexpr int kRow = 2 * ScanTile<P>::kWidth, kWidth = ScanTile<P>::kWidth;
  float* to =
      tokens + ((at.replica * scan_blocks(s) + at.block) * s.examples * s.length + at.row + t) * 2 *
                   states.width;
  const int rows = static_cast<int>(min(s.length - t, Index{kScanChunk}));
  if (states.width == kWidth) {
#pragma unroll
    for (int e = threadIdx.x; e < kScanChunk * kRow / 4; e += ScanTile<P>::kThreads) {
      const int piece = e / (kScanPiece * kRow / 4), place = e % (kScanPiece * kRow / 4);
      float4 sum = reinterpret_cast<const float4*>(chunk.slots[0][piece].tokens)[place];
#pragma unroll
      for (int w = 1; w < ScanTile<P>::kWarps; ++w) {
        const float4 v = reinterpret_cast<const float4*>(chunk.slots[w][piece].tokens)[place];
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
      }
      if (e < rows * kRow / 4) reinterpret_cast<float4*>(to)[e] = sum;
    }
    return;
  }
  for (int e = threadIdx.x; e < rows * kRow; e += ScanTile<P>::kThreads) {
    const int i = e / kRow, which = e / kWidth % 2, n = e % kWidth;
    if (n >= states.width) continue;
    float sum = chunk.slots[0][i / kScanPiece].tokens[i % kScanPiece][which][n];
    for (int w = 1; w < ScanTile<P>::kWarps; ++w)
      sum += chunk.slots[w][i / kScanPiece].tokens[i % kScanPiece][which][n];
    to[(2 * i + which) * states.width + n] = sum;
  }
}

/// The example's shares of da_log = da ⊙ A and of dd, of which the thread's is of column
/// threadIdx.x % kScanChannels.
template <int P>
__device__ void finish_example(ScanBackChunk<P>& chunk, const ScanSize& s,
                               const ScanBackPlace<P>& at, const ScanStates& states,
                               const ScanBackLane<P>& lane, float dd, float* channels) {
  float* to = channels + (at.replica * s.examples + at.example) * s.channels * (states.width + 1);
#pragma unroll
  for (int k = 0; k < ScanTile<P>::kChannels; ++k)
#pragma unroll
    for (int p = 0; p < P; ++p)
      if (at.channel(k) < s.channels && at.state(p) < states.width)
        to[at.channel(k) * states.width + at.state(p)] =
            lane.da[k * P + p] * lane.a2[k * P + p] * kLn2;
  const int column = threadIdx.x % kScanChannels;
  __syncthreads();
  chunk.dy[threadIdx.x / kScanChannels][column] = dd;
  __syncthreads();
  const Index channel = at.block * kScanChannels + column;
  if (threadIdx.x >= kScanChannels || channel >= s.channels) return;
  for (int w = 1; w < ScanTile<P>::kThreads / kScanChannels; ++w)
    dd += chunk.dy[w][column];
  to[s.channels * states.width + channel] = dd;
}

/// Blocks that registers and shared memory leave on a multiprocessor.
template <int P>
constexpr int blocks_at_once() {
  return P <= 2 ? 5 : P == 4 ? 3 : P == 6 ? 2 : 1;
}

template <int P>
__global__ void __launch_bounds__(ScanTile<P>::kThreads, blocks_at_once<P>())
    scan_backward(ScanSize s, ScanStates states, ScanViews<float> in, Batched<float> checkpoints,
                  Batched<float> dy, ScanGradients<float> out, Shares shares) {
  after_previous();
  using Tile = ScanTile<P>;
  extern __shared__ float4 memory[];
  ScanBackChunk<P>& chunk = *reinterpret_cast<ScanBackChunk<P>*>(memory);
  const ScanBackPlace<P> at(s);
  const bool first_states = states.first == 0;
  ScanBackLane<P> lane;
  float dd = 0;
  const float skip = first_states && at.channel(0) < s.channels
                         ? scan_row(in.d, at.replica, 0)[at.channel(0)]
                         : 0.0f;
  scan_load_a2<P>(in.a_log, s, at, states, lane.a2);
  const Index chunks = (s.length + kScanChunk - 1) / kScanChunk;
  for (Index k = chunks - 1; k >= 0; --k) {
    const Index t = k * kScanChunk;
    const ScanStatesLoad<P> b(in.b, s, at, states, t), c(in.c, s, at, states, t);
    float h[Tile::kValues] = {};
    if (k > 0) {
      const Index kept = at.example * (chunks - 1) + k - 1;
#pragma unroll
      for (int i = 0; i < Tile::kChannels; ++i) {
        if (at.channel(i) >= s.channels) continue;
        const float* from = scan_row(checkpoints, at.replica, kept) + at.channel(i) * s.states;
#pragma unroll
        for (int p = 0; p < P; ++p)
          if (at.state(p) < states.width) h[i * P + p] = from[states.first + at.state(p)];
      }
    }
    scan_load_chunk<P>({in.x, in.dt, dy}, s, at, t, [&](int i, int column, const float(&v)[3]) {
      const float delta = scan_softplus(v[1]);
      chunk.delta_u[i][column] = make_float2(delta, delta * v[0]);
      chunk.dy[i][column] = v[2];
      dd += v[0] * v[2];
    });
    b.store(chunk.b);
    c.store(chunk.c);
    __syncthreads();
    if (k > 0) scan_prefetch_chunk<P>({in.x, in.dt, dy}, s, at, t - kScanChunk);
    lane.chunk_back(chunk, at, ScanBackRows(s, at, t, skip, out, first_states), h);
    __syncthreads();
    finish_tokens<P>(chunk, s, at, t, states, shares.tokens);
  }
  finish_example<P>(chunk, s, at, states, lane, dd, shares.channels);
}

/// db and dc: the shares of the blocks of channels, in order; V numbers a thread, which are of one
/// row of one of the two, and where `together` are written as one piece.
template <int V>
__global__ void scan_token_gradients(ScanStates states, int blocks, Index count, bool together,
                                     const float* tokens, Gradient<float> db, Gradient<float> dc) {
  after_previous();
  const Index i = (blockIdx.x * Index{blockDim.x} + threadIdx.x) * V, replica = blockIdx.y;
  if (i >= count) return;
  const float* from = tokens + replica * blocks * count + i;
  float sums[V] = {};
#pragma unroll 4
  for (int k = 0; k < blocks; ++k) {
    float v[V];
    scan_read(from + k * count, v);
#pragma unroll
    for (int m = 0; m < V; ++m)
      sums[m] += v[m];
  }
  const unsigned width = states.width;
  const Index part = i >> 32 == 0 ? static_cast<unsigned>(i) / width : i / width, row = part / 2;
  const bool of_b = part % 2 == 0;  // choices of values: one of arguments would be copied first
  if (!(of_b ? db.wanted : dc.wanted)) return;
  const bool accumulate = of_b ? db.accumulate : dc.accumulate;
  float* const place = (of_b ? scan_row(db.view, replica, row) : scan_row(dc.view, replica, row)) +
                       states.first + (i - part * width);
  if (together) return write_numbers(sums, accumulate, place);
#pragma unroll
  for (int m = 0; m < V; ++m)
    place[m] = accumulate ? place[m] + sums[m] : sums[m];
}

void token_gradients(const CudaCall& call, const ScanSize& s, const ScanStates& states,
                     const float* tokens, const ScanGradients<float>& out, Index replicas) {
  if (!out.b.wanted && !out.c.wanted) return;
  constexpr Index kThreads = 256;
  const Index count = s.examples * s.length * 2 * states.width;
  const bool together = in_quads(out.b.view) && in_quads(out.c.view);
  const auto run = [&](auto v) {
    const Index block = kThreads * v;
    const dim3 grid(static_cast<unsigned>((count + block - 1) / block),
                    static_cast<unsigned>(replicas));
    cuda_launch("scan_token_gradients", scan_token_gradients<v()>, {grid, kThreads, 0, call.stream},
                states, static_cast<int>(scan_blocks(s)), count, together, tokens, out.b, out.c);
  };
  if (states.width % 4 == 0)
    run(std::integral_constant<int, 4>{});
  else
    run(std::integral_constant<int, 1>{});
}

template <int P>
void launch(const CudaCall& call, const ScanSize& s, const ScanStates& states,
            const ScanViews<float>& in, const Batched<float>& checkpoints, const Batched<float>& dy,
            const ScanGradients<float>& out, const Shares& shares) {
  constexpr int kBytes = sizeof(ScanBackChunk<P>);
  cuda_prefer_shared(scan_backward<P>);
  cuda_allow_shared(scan_backward<P>, kBytes, "scan_backward");
  const Index blocks = dy.replicas * s.examples * scan_blocks(s);
  cuda_launch("scan_backward", scan_backward<P>,
              {static_cast<unsigned>(blocks), ScanTile<P>::kThreads, kBytes, call.stream}, s,
              states, in, checkpoints, dy, out, shares);
}

/// Numbers of the shares of tokens of all replicas.
Index token_shares(Index replicas, const ScanSize& s, Index states) {
  return replicas * scan_blocks(s) * s.examples * s.length * 2 * states;
}

}  // namespace

Index scan_cuda_scratch(Index replicas, const ScanSize& s) {
  const Index states = std::min(s.states, Index{kScanMostStates});
  return token_shares(replicas, s, states) + replicas * s.examples * s.channels * (states + 1);
}

void selective_scan_backward_cuda(const CudaCall& call, const ScanSize& s,
                                  const ScanViews<float>& in, const Batched<float>& checkpoints,
                                  const Batched<float>& dy, const ScanGradients<float>& out,
                                  float* scratch) {
  for (Index first = 0; first < s.states; first += kScanMostStates) {
    const ScanStates states = scan_states(s, first);
    const Shares shares{scratch, scratch + token_shares(dy.replicas, s, states.width)};
    scan_dispatch(states,
                  [&](auto p) { launch<p()>(call, s, states, in, checkpoints, dy, out, shares); });
    token_gradients(call, s, states, shares.tokens, out, dy.replicas);
    Gradient<float> a_log = out.a_log;  // the columns of these states
    if (a_log.wanted) {
      a_log.view.data += states.first;
      a_log.view.cols = states.width;
    }
    sum_partials_cuda(call, dy.replicas,
                      {shares.channels, s.examples, s.channels * states.width, s.channels, a_log,
                       first == 0 ? out.d : Gradient<float>{}});
  }
}

}  // namespace recallbench
