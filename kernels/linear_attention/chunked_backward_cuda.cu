// The chunked form, backward. Within a chunk as in the quadratic form (diagonal_backward_cuda);
// beyond it, with the states of chunked.cuh and o = [n, d]: dφ(q) = o Sᵀ, dφ(k) = [v, 1] Gᵀ,
// dv = φ(k) G, added to what is there. A block has 32 queries or keys; rows of the state pass
// through shared memory. Floor: 2 · 5 F dh operations a position beyond the chunk's own.
#include "kernels/linear_attention/chunked.cuh"

namespace recallbench {
namespace {

constexpr int kRows = 32;  // queries or keys of a block; of each 16, two warps share the features

struct ChunkedBackward {
  LinearAttentionCuda c;
  NarrowLayout s;
  ChunkStates states;
  OutputGradient dy;
  Gradient<float> dx, dv;  ///< of q, or of k and v
  bool dv_pairs;
  int tiles;  ///< blocks of an item
};

struct BackwardTiles {
  float *values, *state, *z, *dots, *dphi, *x;  // n or v; rows of a state; d or 1; longer rows
  int dphi_stride, x_stride, numbers;

  __host__ __device__ BackwardTiles(float* memory, const NarrowLayout& s, int state_rows,
                                    int features)
      : dphi_stride(state_rows + 4), x_stride(2 * features + 3) {
    values = memory;
    state = values + kRows * s.value_stride;
    z = state + kTile * s.value_stride;
    dots = z + kTile;
    dphi = dots + kRows;
    x = dphi + kRows * dphi_stride;
    numbers = static_cast<int>(x + kRows * x_stride - memory);
  }
};

template <Precision P, int kValues, bool kKeys>
__global__ __launch_bounds__(kThreads) void chunked_backward(ChunkedBackward b) {
  extern __shared__ __align__(16) float memory[];
  __shared__ uchar2 pairs[kMaxFeaturePairs];
  constexpr int kHalf = kTile / 2;  // rows of a state's tile that a warp has
  const NarrowLayout& s = b.s;
  const LinearAttentionTensors<float>& in = b.c.tensors;
  const Index item = blockIdx.x / b.tiles;
  const ItemOnDevice it(b.c, item);
  const int first = static_cast<int>(blockIdx.x % b.tiles) * kRows, chunk = first / kChunkLength;
  if (chunk == (kKeys ? b.states.chunks - 1 : 0)) return;  // its state is 0
  const BackwardTiles m(memory, s, b.states.rows, it.features);
  const FeaturePairs phi(b.c.plan, it);
  const Batched<float>& from = kKeys ? in.k : in.q;
  const int thread = threadIdx.x, warp = thread / 32, g = lane_row(), t = lane_column();
  const int own = warp % 2 * 16, half = warp / 2, rows = it.length - first;
  const int value_tiles = (it.values + 7) / 8, tiles_before = half * ((value_tiles + 1) / 2);
  const int own_tiles = min((value_tiles + 1) / 2, value_tiles - tiles_before);
  for (int i = thread; i < b.states.rows; i += kThreads)
    pairs[i] = phi(i);
  phi.load(m.x, m.x_stride, it.key_row(from, it.features, first), from.stride, kRows, rows);
  if constexpr (kKeys) {
    copy_rows_async(m.values, s.value_stride, it.key_row(in.v, it.values, first), in.v.stride,
                    kRows, rows, s.values, it.values, s.v_quads);
    copies_end_group();
    if (thread < kRows) m.dots[thread] = 1;
  } else {
    load_output_gradients(b.c, s, b.dy, it, first, kRows, m.values, m.dots);
  }
  float dv[kValues / 2][4];
  clear(dv);
  for (int base = 0; base < b.states.rows; base += kTile) {
    __syncthreads();
    load_state_tile(m.state, m.z, s, b.states, b.states.of(item, chunk), base);
    __syncthreads();
    if (b.dx.wanted) {
      float dphi[kHalf / 8][4];
      clear(dphi);
      rows_product<product_of(P)>(dphi, m.values + own * s.value_stride, s.value_stride,
                                  m.state + half * kHalf * s.value_stride, s.value_stride,
                                  s.values);
#pragma unroll
      for (int n = 0; n < kHalf / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int i = own + g + e / 2 * 8, j = half * kHalf + 8 * n + 2 * t + e % 2;
          if (base + j < b.states.rows)
            m.dphi[i * m.dphi_stride + base + j] = dphi[n][e] + m.dots[i] * m.z[j];
        }
    }
    if constexpr (kKeys)
      for (int i = 0; b.dv.wanted && i < kTile && base + i < b.states.rows; i += 16) {
        float w[2][4];
        feature_fragments(w, m.x + own * m.x_stride, m.x_stride, pairs, base + i);
        fragment_product<product_of(P)>(dv, w[0], w[1],
                                        m.state + i * s.value_stride + 8 * tiles_before,
                                        s.value_stride, own_tiles);
      }
  }
  __syncthreads();
  if (b.dx.wanted) {
    float* const to = it.key_row(b.dx.view, it.features, first);
    for_block(min(kRows, rows), it.features, 1, [&](int i, int j) {
      to[i * b.dx.view.stride + j] +=
          phi.gradient(m.dphi + i * m.dphi_stride, m.x + i * m.x_stride, j);
    });
  }
  if (kKeys && b.dv.wanted)
    store_fragments(dv, it.key_row(b.dv.view, it.values, first + own) + 8 * tiles_before,
                    b.dv.view.stride, rows - own, it.values - 8 * tiles_before, true, b.dv_pairs);
}

int block_bytes(const LinearAttentionPlan& plan, const NarrowLayout& s) {
  return static_cast<int>(sizeof(float)) *
         BackwardTiles(nullptr, s, ChunkStates(plan, nullptr).rows, static_cast<int>(plan.features))
             .numbers;
}

template <Precision P, int kValues, bool kKeys>
void launch(const CudaCall& call, const ChunkedBackward& b) {
  [[maybe_unused]] static const bool allowed =
      allow_shared_memory(chunked_backward<P, kValues, kKeys>);
  const Index blocks = b.c.tensors.q.replicas * b.c.plan.items() * b.tiles;
  chunked_backward<P, kValues, kKeys>
      <<<static_cast<unsigned>(blocks), kThreads, block_bytes(b.c.plan, b.s), call.stream>>>(b);
  cuda_check_launch("linear_attention chunked_backward");
}

}  // namespace

bool chunked_fits_on_cuda(const LinearAttentionPlan& plan) {
  static const int limit = shared_memory_limit();
  return block_bytes(plan, NarrowLayout({plan, {}})) +
             static_cast<int>(sizeof(uchar2)) * kMaxFeaturePairs <=
         limit;
}

void chunked_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                           const LinearAttentionGradients<float>& gradients) {
  diagonal_backward_cuda(call, c, gradients, kChunkLength);
  const ChunkStates states(c.plan, c.tensors.scratch);
  const OutputGradient dy{gradients.dy, in_quads(gradients.dy, c.plan.values)};
  ChunkedBackward b{c,
                    NarrowLayout(c),
                    states,
                    dy,
                    gradients.dq,
                    {},
                    in_quads(gradients.dv.view, c.plan.values),
                    static_cast<int>((c.plan.length + kRows - 1) / kRows)};
  const bool small = c.plan.values <= 64;
  if (gradients.dq.wanted) {
    chunk_states_cuda(call, c, states, nullptr);
    with_precision(call.precision, [&](auto p) {
      small ? launch<p(), 8, false>(call, b) : launch<p(), 16, false>(call, b);
    });
  }
  if (gradients.dk.wanted || gradients.dv.wanted) {
    b.dx = gradients.dk;
    b.dv = gradients.dv;
    chunk_states_cuda(call, c, states, &dy);
    with_precision(call.precision, [&](auto p) {
      small ? launch<p(), 8, true>(call, b) : launch<p(), 16, true>(call, b);
    });
  }
}

}  // namespace recallbench
