// Floor: reads x and dt, writes y: 24 us at B = 256, L = 256, C = 128 and 4.2 TB/s; and one 2^x for
// each token, channel and state, 16 a cycle and multiprocessor: 37 us at N = 16. x, dt and y move
// once; a thread's eight states of a token take some four shared loads and the eight instructions
// of their sums' shuffles, so that 2^x binds. The cost is linear in L, and fills the GPU from about
// B C = 50000 on.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/selective_scan/scan.cuh"
#include "kernels/selective_scan/selective_scan_cuda.h"

namespace recallbench {
namespace {

/// Shared memory of a block.
template <int P>
struct alignas(16) ForwardChunk {
  float2 delta_u[kScanChunk][kScanChannels];  // Δ and Δ x
  alignas(16) float b[kScanChunk][1][ScanTile<P>::kWidth];
  alignas(16) float c[kScanChunk][1][ScanTile<P>::kWidth];
  float x[kScanChunk][kScanChannels];
};

/// One token of a thread's channels: h to that after it, and each channel's share of c h.
template <int P>
__device__ void step_forward(const ForwardChunk<P>& chunk, const ScanPlace<P>& at, int i,
                             const float (&a2)[ScanTile<P>::kValues],
                             float (&h)[ScanTile<P>::kValues],
                             float (&sums)[ScanTile<P>::kChannels]) {
  float b[P], c[P];
  scan_read(chunk.b[i][0] + at.group * P, b);
  scan_read(chunk.c[i][0] + at.group * P, c);
#pragma unroll
  for (int k = 0; k < ScanTile<P>::kChannels; ++k) {
    const float2 in = chunk.delta_u[i][at.column[k]];
    sums[k] = 0;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      float& state = h[k * P + p];
      state = scan_exp2(in.x * a2[k * P + p]) * state + in.y * b[p];
      sums[k] += c[p] * state;
    }
  }
}

/// The states after a chunk, for the way back.
template <int P>
__device__ void keep(const Batched<float>& checkpoints, const ScanSize& s, const ScanPlace<P>& at,
                     const ScanStates& states, Index row, const float (&h)[ScanTile<P>::kValues]) {
#pragma unroll
  for (int k = 0; k < ScanTile<P>::kChannels; ++k) {
    if (at.channel(k) >= s.channels) continue;
    float* to = scan_row(checkpoints, at.replica, row) + at.channel(k) * s.states + states.first;
#pragma unroll
    for (int p = 0; p < P; ++p)
      if (at.state(p) < states.width) to[at.state(p)] = h[k * P + p];
  }
}

template <int P>
__global__ void __launch_bounds__(ScanTile<P>::kThreads,
                                  (P <= 4 ? 768 : 512) / ScanTile<P>::kThreads)
    scan_forward(ScanSize s, ScanStates states, ScanViews<float> in, Batched<float> y,
                 Batched<float> checkpoints) {
  after_previous();
  using Tile = ScanTile<P>;
  __shared__ ForwardChunk<P> chunk;
  const ScanPlace<P> at(s);
  const bool first_states = states.first == 0, used = at.channel(0) < s.channels;
  float a2[Tile::kValues], h[Tile::kValues] = {};
  scan_load_a2<P>(in.a_log, s, at, states, a2);
  const float d = used ? scan_row(in.d, at.replica, 0)[at.channel(0)] : 0.0f;
  const unsigned stride = static_cast<unsigned>(y.stride);
  const Index chunks = (s.length + kScanChunk - 1) / kScanChunk;
  for (Index k = 0; k < chunks; ++k) {
    const Index t = k * kScanChunk;
    const ScanStatesLoad<P> b(in.b, s, at, states, t), c(in.c, s, at, states, t);
    if (k > 0) __syncthreads();
    scan_load_chunk<P>({in.x, in.dt}, s, at, t, [&](int i, int column, const float(&v)[2]) {
      const float delta = scan_softplus(v[1]);
      chunk.x[i][column] = v[0];
      chunk.delta_u[i][column] = make_float2(delta, delta * v[0]);
    });
    b.store(chunk.b);
    c.store(chunk.c);
    __syncthreads();
    if (k + 1 < chunks) scan_prefetch_chunk<P>({in.x, in.dt}, s, at, t + kScanChunk);
    float* const out = scan_keep(at.channels(y, at.row + t) + at.column[0]);
#pragma unroll 4
    for (int i = 0; i < kScanChunk; i += Tile::kTokens) {
      float sums[Tile::kTokens][Tile::kChannels];
#pragma unroll
      for (int j = 0; j < Tile::kTokens; ++j)
        step_forward<P>(chunk, at, i + j, a2, h, sums[j]);
      const float sum = scan_sum_states(at.group, sums);
      const int mine = i + at.token();
      if (!used || t + mine >= s.length) continue;
      float* to = out + mine * stride;
      *to = sum + (first_states ? d * chunk.x[mine][at.column[0]] : *to);
    }
    if (checkpoints.data != nullptr && k + 1 < chunks)
      keep<P>(checkpoints, s, at, states, at.example * (chunks - 1) + k, h);
  }
}

template <int P>
void launch(const CudaCall& call, const ScanSize& s, const ScanStates& states,
            const ScanViews<float>& in, const Batched<float>& y,
            const Batched<float>& checkpoints) {
  cuda_prefer_shared(scan_forward<P>);
  const Index blocks = y.replicas * s.examples * scan_blocks(s);
  cuda_launch("scan_forward", scan_forward<P>,
              {static_cast<unsigned>(blocks), ScanTile<P>::kThreads, 0, call.stream}, s, states, in,
              y, checkpoints);
}

}  // namespace

void selective_scan_forward_cuda(const CudaCall& call, const ScanSize& s,
                                 const ScanViews<float>& in, const Batched<float>& y,
                                 const Batched<float>& checkpoints) {
  for (Index first = 0; first < s.states; first += kScanMostStates) {
    const ScanStates states = scan_states(s, first);
    scan_dispatch(states, [&](auto p) { launch<p()>(call, s, states, in, y, checkpoints); });
  }
}

}  // namespace recallbench
