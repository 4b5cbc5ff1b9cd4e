// Floor: reads q, k, v, g and writes o once: B = 256, L = 256, 4 replicas, 2 heads of 32 keys and
// 64 values: 0.47 GB, 0.11 ms. What is done beside it is issued in as long: about 1000 instructions
// a warp and chunk, a fifth of them the weights between tokens of a chunk, which are made key by
// key in float32, a fifth the products on tensor cores. A block has two barriers a step; loads of
// the next step are under way meanwhile. The state stays in shared memory, its columns with one
// warp.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/gated_linear_attention/chunk.cuh"

namespace recallbench {
namespace {

constexpr int kStages = 2;

template <Product P, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kWarps == 4 ? 5 : 2)
    gated_forward(GatedLinearAttentionCuda in, Index tiles, Batched<float> y) {
  after_previous();
  extern __shared__ float4 memory[];
  constexpr int N = Tile::kFragments;
  const GatedPlace at(in, tiles, Tile::kCols);
  const GatedMemory<Tile> m(reinterpret_cast<float*>(memory), kStages);
  const int column = gated_warp() * 8 * N;
  const auto load = [&](int chunk, int h, int stage) {
    const int first = chunk * kGatedRows;
    const GatedStage to = m.stage(stage);
    gated_begin_load<Tile, true>(in, at, to, first, h);
    gated_copy<Tile, kGatedRows, Tile::kCols>(to.values, at.at(in.v, first, at.value_column()),
                                              in.v.stride, at.count(first), at.columns);
    copies_end_group();
  };
  load(0, 0, 0);
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kKeys * Tile::kStride; i += Tile::kThreads)
    m.state[i] = 0;
  const int chunks = at.chunks();
  for (int step = 0, chunk = 0, h = 0; chunk < chunks; ++step) {
    const int first = chunk * kGatedRows, head = h;
    const bool ends_chunk = ++h == at.group;
    if (ends_chunk) h = 0, ++chunk;
    const GatedStage s = m.stage(step % kStages);
    gated_end_load<Tile, true>(in, at, s, first);
    __syncthreads();
    if (chunk < chunks) load(chunk, h, (step + 1) % kStages);
    gated_fades<Tile>(s.a, m.last, [&](int place, float prefix, float suffix) {
      m.faded_q[place] = s.q[place] * prefix;
      m.faded_k[place] = s.k[place] * suffix;
    });
    gated_weights<Tile>(s, m.weights);
    __syncthreads();
    if (column >= Tile::kCols) continue;
    float o[N][4];
    clear(o);
    delta_product<P>(o, m.weights, kGatedTileStride, s.values + column, Tile::kStride, kGatedRows);
    delta_product<P>(o, m.faded_q, Tile::kKeyStride, m.state + column, Tile::kStride, Tile::kKeys);
    gated_store(o, column, at.at(y, first, at.output_column(head)), y.stride, at.count(first),
                at.columns, false);
    if (!ends_chunk) continue;
    __syncwarp();
    gated_advance<P, Tile>(m.state, m.last, m.faded_k, s.values, column,
                           [](int, int, float, float) {});
  }
}

template <Product P>
void launch(const CudaCall& call, const GatedLinearAttentionCuda& in, const Batched<float>& y) {
  gated_dispatch(in, [&](auto tile) {
    using Tile = decltype(tile);
    const auto bytes = static_cast<int>(sizeof(float)) * GatedMemory<Tile>::numbers(kStages);
    cuda_allow_shared(gated_forward<P, Tile>, bytes, "gated_linear_attention_forward");
    const Index tiles = gated_tiles(in), blocks = y.replicas * in.examples * in.state_heads * tiles;
    cuda_launch("gated_linear_attention_forward", gated_forward<P, Tile>,
                {static_cast<unsigned>(blocks), Tile::kThreads, bytes, call.stream}, in, tiles, y);
  });
}

}  // namespace

void gated_linear_attention_forward_cuda(const CudaCall& call, const GatedLinearAttentionCuda& in,
                                         const Batched<float>& y) {
  check(in.keys <= kGatedMostKeys, "gated_linear_attention",
        "heads of more than 256 keys on a GPU");
  switch (product_of(call.precision)) {
    case Product::tf32:
      return launch<Product::tf32>(call, in, y);
    case Product::bf16:
      return launch<Product::bf16>(call, in, y);
    default:
      return launch<Product::fp32>(call, in, y);
  }
}

}  // namespace recallbench
