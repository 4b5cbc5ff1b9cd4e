// Floor: reads x and dt, writes y: 24 us at B = 256, L = 256, C = 128 and 4.2 TB/s; and one 2^x for
// each token, channel and state, 16 a cycle and multiprocessor: 37 us at N = 16. x, dt and y move
// once; the sums over the states of four tokens take three shuffles together. The cost is linear in
// L, and fills the GPU from about B C = 17000 on.
#include "kernels/selective_scan/scan.cuh"
#include "kernels/selective_scan/selective_scan_cuda.h"

namespace recallbench {
namespace {

template <int P>
__global__ void __launch_bounds__(kScanThreads, 8)
    scan_forward(ScanSize s, ScanStates states, ScanViews<float> in, Batched<float> y,
                 Batched<float> checkpoints) {
  __shared__ ScanRows x, delta, u;
  __shared__ float b[kScanChunk][kScanGroups * P], c[kScanChunk][kScanGroups * P];
  const ScanPlace at(s);
  const bool first_states = states.first == 0;
  float a2[P], h[P] = {};
  scan_load_a2(in.a_log, at, states, a2);
  const float d = at.used ? scan_row(in.d, at.replica, 0)[at.channel] : 0.0f;
  float* const out = y.data + at.replica * y.replica_stride + at.row * y.stride + at.channel;
  const Index chunks = (s.length + kScanChunk - 1) / kScanChunk;
  for (Index k = 0; k < chunks; ++k) {
    const Index t = k * kScanChunk;
    if (k > 0) __syncthreads();
    scan_for_chunk(s, at, t, [&](int i, int lane, Index channel, bool exists) {
      const Index row = at.row + t + i;
      const float xi = exists ? scan_row(in.x, at.replica, row)[channel] : 0.0f;
      const float step = exists ? scan_softplus(scan_row(in.dt, at.replica, row)[channel]) : 0.0f;
      x[i][lane] = xi;
      delta[i][lane] = step;
      u[i][lane] = step * xi;
    });
    scan_load_states<P>(in.b, s, at, states, t, b);
    scan_load_states<P>(in.c, s, at, states, t, c);
    __syncthreads();
    for (int i = 0; i < kScanChunk; i += kScanGroups) {
      float sums[kScanGroups] = {};
#pragma unroll
      for (int j = 0; j < kScanGroups; ++j) {
        const float step = delta[i + j][at.lane_channel], ui = u[i + j][at.lane_channel];
#pragma unroll
        for (int p = 0; p < P; ++p) {
          h[p] = scan_exp2(step * a2[p]) * h[p] + ui * b[i + j][at.group * P + p];
          sums[j] += c[i + j][at.group * P + p] * h[p];
        }
      }
      const float sum = scan_sum_of_four(at.group, sums[0], sums[1], sums[2], sums[3]);
      const int mine = i + at.group;
      if (!at.used || t + mine >= s.length) continue;
      float* to = out + (t + mine) * y.stride;
      *to = sum + (first_states ? d * x[mine][at.lane_channel] : *to);
    }
    if (checkpoints.data == nullptr || k + 1 == chunks || !at.used) continue;
    float* kept = checkpoints.data + at.replica * checkpoints.replica_stride +
                  (at.example * (chunks - 1) + k) * checkpoints.stride + at.channel * s.states +
                  states.first + at.group * P;
#pragma unroll
    for (int p = 0; p < P; ++p)
      if (at.group * P + p < states.width) kept[p] = h[p];
  }
}

template <int P>
void launch(const CudaCall& call, const ScanSize& s, const ScanStates& states,
            const ScanViews<float>& in, const Batched<float>& y,
            const Batched<float>& checkpoints) {
  const Index blocks = y.replicas * s.examples * ((s.channels + kScanChannels - 1) / kScanChannels);
  scan_forward<P><<<static_cast<unsigned>(blocks), kScanThreads, 0, call.stream>>>(s, states, in, y,
                                                                                   checkpoints);
  cuda_check_launch("scan_forward");
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
