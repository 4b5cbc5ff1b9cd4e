// The chunked form, forward: y = (φ(q) S + Σ over the own chunk of w v) / (φ(q) z + Σ w + eps). A
// block has 64 queries; rows of the state pass through shared memory as keys do, with φ(q) in the
// place of weights. Floor: 2 (F dh + 128 (f + dh)) operations a position, whatever the length.
#include "kernels/linear_attention/chunked.cuh"

namespace recallbench {
namespace {

struct ChunkedForward {
  LinearAttentionCuda c;
  NarrowLayout s;
  ChunkStates states;
  int query_tiles;
};

struct ForwardTiles {
  float *q, *k, *v, *z, *x;  // x: longer rows of q
  int x_stride, numbers;

  __host__ __device__ ForwardTiles(float* memory, const NarrowLayout& s, int features)
      : x_stride(2 * features + 3) {
    q = memory;
    k = q + kTile * s.feature_stride;
    v = k + kTile * s.feature_stride;
    z = v + kTile * s.value_stride;
    x = z + kTile;
    numbers = static_cast<int>(x + kTile * x_stride - memory);
  }
};

template <Precision P, int kValues>
__global__ __launch_bounds__(kThreads) void chunked_forward(ChunkedForward b) {
  extern __shared__ __align__(16) float memory[];
  __shared__ uchar2 pairs[kMaxFeaturePairs];
  const NarrowLayout& s = b.s;
  const LinearAttentionTensors<float>& in = b.c.tensors;
  const Index item = blockIdx.x / b.query_tiles;
  const ItemOnDevice it(b.c, item);
  const ForwardTiles m(memory, s, it.features);
  const FeaturePairs phi(b.c.plan, it);
  const Weight weight(b.c.plan);
  const int first = static_cast<int>(blockIdx.x % b.query_tiles) * kTile;
  const int chunk = first / kChunkLength, warp = threadIdx.x / 32, own = 16 * warp;
  const int g = lane_row(), t = lane_column(), value_tiles = (it.values + 7) / 8;
  for (int i = threadIdx.x; i < b.states.rows; i += kThreads)
    pairs[i] = phi(i);
  copy_rows_async(m.q, s.feature_stride, it.query_row(in.q, it.features, first), in.q.stride, kTile,
                  it.queries - first, s.features, it.features, s.q_quads);
  copies_end_group();
  phi.load(m.x, m.x_stride, it.query_row(in.q, it.features, first), in.q.stride, kTile,
           it.queries - first);

  float y[kValues][4], sums[2] = {0, 0};
  clear(y);
  for (int base = 0; chunk > 0 && base < b.states.rows; base += kTile) {
    __syncthreads();
    load_state_tile(m.v, m.z, s, b.states, b.states.of(item, chunk), base);
    __syncthreads();
    for (int i = 0; i < kTile && base + i < b.states.rows; i += 16) {
      float w[2][4];
      feature_fragments(w, m.x + own * m.x_stride, m.x_stride, pairs, base + i);
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          sums[e / 2] += w[n][e] * m.z[i + 8 * n + 2 * t + e % 2];
      fragment_product<product_of(P)>(y, w[0], w[1], m.v + i * s.value_stride, s.value_stride,
                                      value_tiles);
    }
  }
  const int end = min(first + kTile, it.length);
  const int positions[2] = {first + own + g, first + own + g + 8};
  for (int key = chunk * kChunkLength; key < end; key += kTile) {
    __syncthreads();
    copy_rows_async(m.k, s.feature_stride, it.key_row(in.k, it.features, key), in.k.stride, kTile,
                    it.length - key, s.features, it.features, s.k_quads);
    copy_rows_async(m.v, s.value_stride, it.key_row(in.v, it.values, key), in.v.stride, kTile,
                    it.length - key, s.values, it.values, s.v_quads);
    copies_end_group();
    copies_wait<0>();
    __syncthreads();
    for (int i = 0; i < kTile && key + i < first + own + 16; i += 16) {
      float w[2][4];
      clear(w);
      rows_product<exact_product(P)>(w, m.q + own * s.feature_stride, s.feature_stride,
                                     m.k + i * s.feature_stride, s.feature_stride, s.features);
      weigh(w, weight, key + i, positions, sums);
      fragment_product<product_of(P)>(y, w[0], w[1], m.v + i * s.value_stride, s.value_stride,
                                      value_tiles);
    }
  }
  const int row = first + own;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const float denominator = static_cast<float>(b.c.plan.options.eps) + warp_sum<4>(sums[e]);
    const int i = row + g + 8 * e;
    if (t == 0 && i < it.queries) *it.query_row(in.denominators, 1, i) = denominator;
    const float inverse = 1 / denominator;
#pragma unroll
    for (int n = 0; n < kValues; ++n) {
      y[n][2 * e] *= inverse;
      y[n][2 * e + 1] *= inverse;
    }
  }
  store_fragments(y, it.query_row(in.y, it.values, row), in.y.stride, it.queries - row, it.values,
                  false, s.y_quads);
}

template <Precision P, int kValues>
void launch(const CudaCall& call, const ChunkedForward& b, Index items) {
  const std::size_t bytes =
      sizeof(float) * static_cast<std::size_t>(
                          ForwardTiles(nullptr, b.s, static_cast<int>(b.c.plan.features)).numbers);
  [[maybe_unused]] static const bool allowed = allow_shared_memory(chunked_forward<P, kValues>);
  chunked_forward<P, kValues>
      <<<static_cast<unsigned>(items * b.query_tiles), kThreads, bytes, call.stream>>>(b);
  cuda_check_launch("linear_attention chunked_forward");
}

}  // namespace

/// By operations a position, forward; the fifth more is the traffic of states.
bool chunked_pays_on_cuda(const LinearAttentionPlan& plan) {
  if (plan.options.at_labels) return false;
  const ChunkStates states(plan, nullptr);
  const double width = static_cast<double>(plan.features + plan.values);
  const double quadratic = static_cast<double>(plan.length) / 2 * width;
  const double chunked = kChunkLength / 2 * width + 2.0 * static_cast<double>(states.stride);
  return quadratic > 1.2 * chunked;
}

Index chunked_cuda_scratch(const LinearAttentionPlan& plan, Index replicas) {
  const ChunkStates states(plan, nullptr);
  return replicas * plan.items() * states.chunks * states.stride;
}

void chunked_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c) {
  const ChunkStates states(c.plan, c.tensors.scratch);
  chunk_states_cuda(call, c, states, nullptr);
  const ChunkedForward b{c, NarrowLayout(c), states,
                         static_cast<int>((c.plan.queries + kTile - 1) / kTile)};
  const Index items = c.tensors.q.replicas * c.plan.items();
  with_precision(call.precision, [&](auto p) {
    c.plan.values <= 64 ? launch<p(), 8>(call, b, items) : launch<p(), 16>(call, b, items);
  });
}

}  // namespace recallbench
