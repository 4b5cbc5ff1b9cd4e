// Floor: reads x, dt and dy, writes dx and ddt: 40 us at B = 256, L = 256, C = 128 and 4.2 TB/s;
// for each token, channel and state about 25 instructions, 100 us at N = 16, of which the states
// are computed twice: chunk by chunk backward, from the kept state before the chunk to those before
// each piece of a few tokens, then from piece to piece, whose states and decays stay in registers.
// Sums over a channel's states and over channels share their shuffles between tokens and states.
#include <algorithm>

#include "kernels/cuda/partial_sums.h"
#include "kernels/selective_scan/scan.cuh"
#include "kernels/selective_scan/selective_scan_cuda.h"

namespace recallbench {
namespace {

constexpr int kWarps = kScanThreads / 32;
constexpr int kWarpChannels = 32 / kScanGroups;
constexpr unsigned kAllLanes = 0xffffffffu;

Index channel_blocks(const ScanSize& s) {
  return (s.channels + kScanChannels - 1) / kScanChannels;
}

/// Shared memory of a block.
template <int P>
struct Chunk {
  static constexpr int kWidth = kScanGroups * P;
  static constexpr int kPiece = P <= 4 ? 8 : 4;  // tokens whose states are in registers
  static constexpr int kPieces = kScanChunk / kPiece;

  ScanRows delta, u, dy;
  ScanRows r, q;  // Σ_n g b and Σ_n m a2, with m = g ⊙ (what h_{t-1} brings to h_t)
  float b[kScanChunk][kWidth], c[kScanChunk][kWidth];
  float starts[kPieces][P][kScanThreads];       // states before each piece
  float tokens[kWarps][kScanChunk][2][kWidth];  // each warp's shares of db and dc
};

/// Shares: tokens [R, channel blocks, B L, 2, width], channels [R, B, C width + C].
struct Shares {
  float *tokens, *channels;
};

/// Lane g of the 8 that are 4 apart gets the sums over them of values [g N / 8, ...).
template <int N, int kBit, int V>
__device__ void sum_over_channels(int g, float (&v)[V]) {
  if constexpr (kBit == 0) {
    return;
  } else if constexpr (N == 1) {
    v[0] += __shfl_xor_sync(kAllLanes, v[0], kBit * kScanGroups);
    sum_over_channels<1, kBit / 2>(g, v);
  } else {
    const bool upper = g & kBit;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      const float keep = upper ? v[i + N / 2] : v[i], send = upper ? v[i] : v[i + N / 2];
      v[i] = keep + __shfl_xor_sync(kAllLanes, send, kBit * kScanGroups);
    }
    sum_over_channels<N / 2, kBit / 2>(g, v);
  }
}

/// The warp's shares of db and dc of one token: db[p], dc[p] are this thread's.
template <int P>
__device__ void store_token(const float (&db)[P], const float (&dc)[P], const ScanPlace& at,
                            float (*to)[kScanGroups * P]) {
  constexpr int kHalf = P <= 1 ? 1 : P <= 2 ? 2 : P <= 4 ? 4 : 8;
  float v[2 * kHalf] = {};
#pragma unroll
  for (int p = 0; p < P; ++p) {
    v[p] = db[p];
    v[kHalf + p] = dc[p];
  }
  const int g = at.lane_channel % kWarpChannels;
  sum_over_channels<2 * kHalf, kWarpChannels / 2>(g, v);
  constexpr int kMine = 2 * kHalf > kWarpChannels ? 2 * kHalf / kWarpChannels : 1;
  if (g * 2 * kHalf % kWarpChannels != 0) return;  // another lane has the same sum
#pragma unroll
  for (int m = 0; m < kMine; ++m) {
    const int i = g * 2 * kHalf / kWarpChannels + m, p = i % kHalf;
    if (p < P) to[i / kHalf][at.group * P + p] = v[m];
  }
}

/// A thread's P states on their way back.
template <int P>
struct Lane {
  float a2[P], g[P] = {}, da[P] = {};

  /// Decays and states of a piece that begins at token `first` of the chunk: h[0] is the state
  /// before it.
  template <int N>
  __device__ void forward(const Chunk<P>& chunk, const ScanPlace& at, int first, float (&a)[N][P],
                          float (&h)[N + 1][P]) const {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float step = chunk.delta[first + j][at.lane_channel];
      const float u = chunk.u[first + j][at.lane_channel];
#pragma unroll
      for (int p = 0; p < P; ++p) {
        a[j][p] = scan_exp2(step * a2[p]);
        h[j + 1][p] = a[j][p] * h[j][p] + u * chunk.b[first + j][at.group * P + p];
      }
    }
  }

  /// The states before each piece, from the one before the chunk.
  __device__ void fill_starts(Chunk<P>& chunk, const ScanPlace& at, float (&h)[P]) const {
    for (int piece = 0; piece < Chunk<P>::kPieces; ++piece) {
#pragma unroll
      for (int p = 0; p < P; ++p)
        chunk.starts[piece][p][threadIdx.x] = h[p];
      if (piece + 1 == Chunk<P>::kPieces) return;
      for (int j = 0; j < Chunk<P>::kPiece; ++j) {
        const int i = piece * Chunk<P>::kPiece + j;
        const float step = chunk.delta[i][at.lane_channel], u = chunk.u[i][at.lane_channel];
#pragma unroll
        for (int p = 0; p < P; ++p)
          h[p] = scan_exp2(step * a2[p]) * h[p] + u * chunk.b[i][at.group * P + p];
      }
    }
  }

  /// One token back: `before` and `after` it are the states, `a` the decays. r and q are the
  /// thread's shares.
  __device__ void step_back(const Chunk<P>& chunk, const ScanPlace& at, int i, const float (&a)[P],
                            const float (&before)[P], const float (&after)[P], float& r, float& q,
                            float (*tokens)[kScanGroups * P]) {
    const float step = chunk.delta[i][at.lane_channel], u = chunk.u[i][at.lane_channel];
    const float dy = chunk.dy[i][at.lane_channel];
    float db[P], dc[P];
    r = 0;
    q = 0;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const float gradient = g[p] + dy * chunk.c[i][at.group * P + p];
      g[p] = gradient * a[p];
      const float m = g[p] * before[p];
      r += gradient * chunk.b[i][at.group * P + p];
      q += m * a2[p];
      da[p] += step * m;
      db[p] = gradient * u;
      dc[p] = after[p] * dy;
    }
    store_token<P>(db, dc, at, tokens);
  }

  /// A whole chunk back, from the state `h` before it.
  __device__ void chunk_back(Chunk<P>& chunk, const ScanPlace& at, float (&h)[P]) {
    constexpr int kPiece = Chunk<P>::kPiece;
    fill_starts(chunk, at, h);
    for (int piece = Chunk<P>::kPieces - 1; piece >= 0; --piece) {
      float a[kPiece][P], states[kPiece + 1][P], r[2], q[2];
      const int first = piece * kPiece;
#pragma unroll
      for (int p = 0; p < P; ++p)
        states[0][p] = chunk.starts[piece][p][threadIdx.x];
      forward<kPiece>(chunk, at, first, a, states);
#pragma unroll
      for (int j = kPiece - 1; j >= 0; --j) {
        step_back(chunk, at, first + j, a[j], states[j], states[j + 1], r[j % 2], q[j % 2],
                  chunk.tokens[threadIdx.x / 32][first + j]);
        if (j % 2 != 0) continue;
        const float sum = scan_sum_of_four(at.group, r[0], q[0], r[1], q[1]);
        (at.group % 2 == 0 ? chunk.r : chunk.q)[first + j + at.group / 2][at.lane_channel] = sum;
      }
    }
  }
};

__device__ void store(const Gradient<float>& to, Index replica, Index row, Index column,
                      bool accumulate, float value) {
  if (!to.wanted) return;
  float* place = to.view.data + replica * to.view.replica_stride + row * to.view.stride + column;
  *place = accumulate ? *place + value : value;
}

/// dx = Δ r + d dy and ddt = softplus'(dt) (x r + ln 2 q) of a chunk, and dd += Σ_t dy x; states
/// after the first launch's add to what that wrote.
template <int P>
__device__ void finish_channels(const Chunk<P>& chunk, const ScanSize& s, const ScanPlace& at,
                                Index t, bool first_states, const ScanViews<float>& in,
                                const ScanGradients<float>& out, float& dd) {
  scan_for_chunk(s, at, t, [&](int i, int lane, Index channel, bool exists) {
    if (!exists) return;
    const Index row = at.row + t + i;
    const float x = scan_row(in.x, at.replica, row)[channel];
    const float slope = scan_slope(scan_row(in.dt, at.replica, row)[channel]);
    const float r = chunk.r[i][lane], dy = chunk.dy[i][lane];
    const float skip = first_states ? scan_row(in.d, at.replica, 0)[channel] * dy : 0.0f;
    dd += dy * x;
    store(out.x, at.replica, row, channel, out.x.accumulate || !first_states,
          chunk.delta[i][lane] * r + skip);
    store(out.dt, at.replica, row, channel, out.dt.accumulate || !first_states,
          slope * (x * r + 0.69314718056f * chunk.q[i][lane]));
  });
}

/// The block's shares of db and dc of a chunk: its warps', in order.
template <int P>
__device__ void finish_tokens(const Chunk<P>& chunk, const ScanSize& s, const ScanPlace& at,
                              Index t, const ScanStates& states, float* tokens) {
  constexpr int kWidth = kScanGroups * P;
  const Index blocks = (s.channels + kScanChannels - 1) / kScanChannels;
  float* to = tokens + ((at.replica * blocks + at.block) * s.examples * s.length + at.row + t) * 2 *
                           states.width;
  for (int e = threadIdx.x; e < kScanChunk * 2 * kWidth; e += kScanThreads) {
    const int i = e / (2 * kWidth), which = e / kWidth % 2, n = e % kWidth;
    if (t + i >= s.length || n >= states.width) continue;
    float sum = chunk.tokens[0][i][which][n];
#pragma unroll
    for (int w = 1; w < kWarps; ++w)
      sum += chunk.tokens[w][i][which][n];
    to[(2 * i + which) * states.width + n] = sum;
  }
}

/// The example's shares of da_log = da ⊙ A and of dd.
template <int P>
__device__ void finish_example(Chunk<P>& chunk, const ScanSize& s, const ScanPlace& at,
                               const ScanStates& states, const Lane<P>& lane, float dd,
                               float* channels) {
  float* to = channels + (at.replica * s.examples + at.example) * s.channels * (states.width + 1);
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int n = at.group * P + p;
    if (at.used && n < states.width)
      to[at.channel * states.width + n] = lane.da[p] * lane.a2[p] * 0.69314718056f;
  }
  chunk.r[threadIdx.x / kScanChannels][threadIdx.x % kScanChannels] = dd;
  __syncthreads();
  const Index channel = at.block * kScanChannels + threadIdx.x;
  if (threadIdx.x >= kScanChannels || channel >= s.channels) return;
  for (int w = 1; w < kScanThreads / kScanChannels; ++w)
    dd += chunk.r[w][threadIdx.x];
  to[s.channels * states.width + channel] = dd;
}

template <int P>
__global__ void __launch_bounds__(kScanThreads, P <= 4 ? 4 : 2)
    scan_backward(ScanSize s, ScanStates states, ScanViews<float> in, Batched<float> checkpoints,
                  Batched<float> dy, ScanGradients<float> out, Shares shares) {
  extern __shared__ float memory[];
  Chunk<P>& chunk = *reinterpret_cast<Chunk<P>*>(memory);
  const ScanPlace at(s);
  Lane<P> lane;
  float dd = 0;
  scan_load_a2(in.a_log, at, states, lane.a2);
  const Index chunks = (s.length + kScanChunk - 1) / kScanChunk;
  for (Index k = chunks - 1; k >= 0; --k) {
    const Index t = k * kScanChunk;
    scan_for_chunk(s, at, t, [&](int i, int column, Index channel, bool exists) {
      const Index row = at.row + t + i;
      const float step = exists ? scan_softplus(scan_row(in.dt, at.replica, row)[channel]) : 0.0f;
      chunk.delta[i][column] = step;
      chunk.u[i][column] = exists ? step * scan_row(in.x, at.replica, row)[channel] : 0.0f;
      chunk.dy[i][column] = exists ? scan_row(dy, at.replica, row)[channel] : 0.0f;
    });
    scan_load_states<P>(in.b, s, at, states, t, chunk.b);
    scan_load_states<P>(in.c, s, at, states, t, chunk.c);
    float h[P] = {};
    if (k > 0 && at.used) {
      const float* kept = scan_row(checkpoints, at.replica, at.example * (chunks - 1) + k - 1) +
                          at.channel * s.states + states.first + at.group * P;
#pragma unroll
      for (int p = 0; p < P; ++p)
        if (at.group * P + p < states.width) h[p] = kept[p];
    }
    __syncthreads();
    lane.chunk_back(chunk, at, h);
    __syncthreads();
    finish_channels<P>(chunk, s, at, t, states.first == 0, in, out, dd);
    finish_tokens<P>(chunk, s, at, t, states, shares.tokens);
    __syncthreads();
  }
  finish_example<P>(chunk, s, at, states, lane, dd, shares.channels);
}

/// db and dc: the shares of the blocks of channels, in order.
__global__ void scan_token_gradients(ScanSize s, ScanStates states, Index blocks, Index count,
                                     const float* tokens, Gradient<float> db, Gradient<float> dc) {
  const Index i = blockIdx.x * Index{blockDim.x} + threadIdx.x, replica = blockIdx.y;
  if (i >= count) return;
  const float* from = tokens + replica * blocks * count + i;
  float sum = 0;
  for (Index k = 0; k < blocks; ++k)
    sum += from[k * count];
  const Index n = i % states.width, row = i / states.width / 2;
  const bool is_b = i / states.width % 2 == 0;
  const Gradient<float>& to = is_b ? db : dc;
  store(to, replica, row, states.first + n, to.accumulate, sum);
}

template <int P>
void launch(const CudaCall& call, const ScanSize& s, const ScanStates& states,
            const ScanViews<float>& in, const Batched<float>& checkpoints, const Batched<float>& dy,
            const ScanGradients<float>& out, const Shares& shares) {
  constexpr int kBytes = sizeof(Chunk<P>);
  cuda_check(
      cudaFuncSetAttribute(scan_backward<P>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
      "cudaFuncSetAttribute");
  const Index blocks = dy.replicas * s.examples * channel_blocks(s);
  scan_backward<P><<<static_cast<unsigned>(blocks), kScanThreads, kBytes, call.stream>>>(
      s, states, in, checkpoints, dy, out, shares);
  cuda_check_launch("scan_backward");
}

/// Numbers of the shares of tokens of all replicas.
Index token_shares(Index replicas, const ScanSize& s, Index states) {
  return replicas * channel_blocks(s) * s.examples * s.length * 2 * states;
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
    if (out.b.wanted || out.c.wanted) {
      constexpr unsigned kThreads = 256;
      const Index count = s.examples * s.length * 2 * states.width;
      const dim3 grid(static_cast<unsigned>((count + kThreads - 1) / kThreads),
                      static_cast<unsigned>(dy.replicas));
      scan_token_gradients<<<grid, kThreads, 0, call.stream>>>(s, states, channel_blocks(s), count,
                                                               shares.tokens, out.b, out.c);
      cuda_check_launch("scan_token_gradients");
    }
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
