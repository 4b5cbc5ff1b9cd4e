// States of chunks: each chunk's own, in blocks of 64 of their rows, then sums over chunks in
// order. Floor: a chunk's keys and values read and its state written once, then read and written by
// the sum; F (dh + 1) numbers a state, so with chunks of 256 as many bytes as the chunk's values
// for 16 features; 2 F dh operations a position.
#include "kernels/linear_attention/chunked.cuh"

namespace recallbench {
namespace {

constexpr int kFeatureStride = kTile + 4;  // of rows of φ, kTile features

struct ChunkStatesCall {
  LinearAttentionCuda c;
  NarrowLayout s;
  ChunkStates states;
  OutputGradient dy;
  int groups;  ///< of kTile rows of a state
};

struct StateTiles {
  float *x, *phi, *values, *dots;  // longer rows of k or q; φ [position][feature]; v or n; 1 or d
  int x_stride, numbers;

  __host__ __device__ StateTiles(float* memory, const NarrowLayout& s, int features)
      : x_stride(2 * features + 3) {
    values = memory;
    phi = values + kTile * s.value_stride;
    dots = phi + kTile * kFeatureStride;
    x = dots + kTile;
    numbers = static_cast<int>(x + kTile * x_stride - memory);
  }
};

/// Rows [64 group, + 64) of one chunk's own state. kKeys: S of k and v; otherwise G of q and n.
template <Precision P, int kValues, bool kKeys>
__global__ __launch_bounds__(kThreads) void chunk_states(ChunkStatesCall b) {
  extern __shared__ __align__(16) float memory[];
  __shared__ uchar2 pairs[kTile];
  const int thread = threadIdx.x, warp = thread / 32;
  const int group = static_cast<int>(blockIdx.x % b.groups);
  const Index rest = blockIdx.x / b.groups, item = rest / (b.states.chunks - 1);
  const int chunk = static_cast<int>(rest % (b.states.chunks - 1)) + (kKeys ? 0 : 1);
  const ItemOnDevice it(b.c, item);
  const StateTiles m(memory, b.s, it.features);
  const FeaturePairs phi(b.c.plan, it);
  const Batched<float>& from = kKeys ? b.c.tensors.k : b.c.tensors.q;
  const int begin = chunk * kChunkLength, end = min(begin + kChunkLength, it.length);
  const int value_tiles = (it.values + 7) / 8;
  if (thread < kTile) pairs[thread] = phi(group * kTile + thread);
  float state[kValues][4], z = 0;
  clear(state);
  for (int first = begin; first < end; first += kTile) {
    __syncthreads();
    if constexpr (kKeys) {
      copy_rows_async(m.values, b.s.value_stride, it.key_row(b.c.tensors.v, it.values, first),
                      b.c.tensors.v.stride, kTile, it.length - first, b.s.values, it.values,
                      b.s.v_quads);
      copies_end_group();
      if (thread < kTile) m.dots[thread] = 1;
    } else {
      load_output_gradients(b.c, b.s, b.dy, it, first, kTile, m.values, m.dots);
    }
    phi.load(m.x, m.x_stride, it.key_row(from, it.features, first), from.stride, kTile,
             it.length - first);
    copies_wait<0>();
    __syncthreads();
    for_block(kTile, kTile, 1, [&](int i, int j) {
      const float* x = m.x + i * m.x_stride;
      m.phi[i * kFeatureStride + j] = x[pairs[j].x] * x[pairs[j].y];
    });
    __syncthreads();
    columns_product<product_of(P)>(state, m.phi + 16 * warp, kFeatureStride, m.values,
                                   b.s.value_stride, kTile, value_tiles);
    if (thread < kTile)
      for (int i = 0; i < kTile; ++i)
        z += m.phi[i * kFeatureStride + thread] * m.dots[i];
  }
  float* const to = b.states.of(item, chunk);
  const int row = group * kTile + 16 * warp;
  store_fragments(state, to + Index{row} * b.states.cols, b.states.cols, b.states.rows - row,
                  b.states.cols, false, true);
  if (thread < kTile && group * kTile + thread < b.states.rows)
    to[Index{b.states.rows} * b.states.cols + group * kTile + thread] = z;
}

/// Every chunk's state becomes the sum of those before it (or after it, `backwards`).
__global__ __launch_bounds__(kThreads) void add_chunk_states(ChunkStates states, Index items,
                                                             bool backwards) {
  const Index at = blockIdx.x * Index{kThreads} + threadIdx.x;
  if (at >= items * states.stride) return;
  float* const first = states.of(at / states.stride, 0) + at % states.stride;
  float sum = 0;
#pragma unroll 4
  for (int n = 0; n < states.chunks; ++n) {
    float* place = first + (backwards ? states.chunks - 1 - n : n) * states.stride;
    const float own = n + 1 < states.chunks ? *place : 0.0f;
    *place = sum;
    sum += own;
  }
}

template <Precision P, int kValues, bool kKeys>
void launch(const CudaCall& call, const ChunkStatesCall& b, Index items) {
  const std::size_t bytes =
      sizeof(float) * static_cast<std::size_t>(
                          StateTiles(nullptr, b.s, static_cast<int>(b.c.plan.features)).numbers);
  [[maybe_unused]] static const bool allowed = allow_shared_memory(chunk_states<P, kValues, kKeys>);
  const Index blocks = items * (b.states.chunks - 1) * b.groups;
  chunk_states<P, kValues, kKeys>
      <<<static_cast<unsigned>(blocks), kThreads, bytes, call.stream>>>(b);
  cuda_check_launch("linear_attention chunk_states");
}

}  // namespace

void chunk_states_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                       const ChunkStates& states, const OutputGradient* dy) {
  const Index items = c.tensors.q.replicas * c.plan.items();
  const ChunkStatesCall b{c, NarrowLayout(c), states, dy != nullptr ? *dy : OutputGradient{},
                          (states.rows + kTile - 1) / kTile};
  const bool small = c.plan.values <= 64, keys = dy == nullptr;
  if (states.chunks > 1)
    with_precision(call.precision, [&](auto p) {
      if (keys)
        small ? launch<p(), 8, true>(call, b, items) : launch<p(), 16, true>(call, b, items);
      else
        small ? launch<p(), 8, false>(call, b, items) : launch<p(), 16, false>(call, b, items);
    });
  const Index blocks = (items * states.stride + kThreads - 1) / kThreads;
  add_chunk_states<<<static_cast<unsigned>(blocks), kThreads, 0, call.stream>>>(states, items,
                                                                                !keys);
  cuda_check_launch("linear_attention add_chunk_states");
}

}  // namespace recallbench
