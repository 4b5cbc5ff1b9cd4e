// Floor: reads q, k, v, g and writes o once: B = 256, L = 256, 4 replicas, 2 heads of 32 keys and
// 64 values: 0.47 GB, 0.11 ms. Products with the state on tensor cores are 0.1 of that; the weights
// between tokens of a chunk are made key by key in float32, 2 (2 · 136 K) FLOPs a chunk. A block of
// four or eight warps has two barriers a chunk; loads of the next chunk are under way meanwhile.
// The state stays in shared memory, its columns with one warp.
#include "kernels/gated_linear_attention/chunk.cuh"

namespace recallbench {
namespace {

constexpr int kStages = 2;

template <Product P, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kWarps == 4 ? 5 : 2)
    gated_forward(GatedLinearAttentionCuda in, Index tiles, Batched<float> y) {
  extern __shared__ float4 memory[];
  constexpr int N = Tile::kFragments;
  const GatedPlace at(in, tiles, Tile::kCols);
  const GatedMemory<Tile> m(reinterpret_cast<float*>(memory), at, kStages);
  const int column = gated_warp() * 8 * N;
  const int steps = at.chunks() * at.group;
  const auto load = [&](int step) {
    const int first = step / at.group * kGatedRows;
    const GatedStage to = m.stage(step % kStages);
    gated_begin_load<Tile, true>(in, at, to, first, step % at.group);
    gated_copy<Tile>(to.values, Tile::kStride, kGatedRows, Tile::kCols,
                     at.at(in.v, first, at.value_column()), in.v.stride, at.count(first),
                     at.columns);
    copies_end_group();
  };
  load(0);
  for (int i = static_cast<int>(threadIdx.x); i < at.padded * Tile::kStride; i += Tile::kThreads)
    m.state[i] = 0;
  for (int step = 0; step < steps; ++step) {
    const int first = step / at.group * kGatedRows, h = step % at.group;
    const GatedStage s = m.stage(step % kStages);
    gated_end_load<Tile, true>(in, at, s, first);
    __syncthreads();
    if (step + 1 < steps) load(step + 1);
    gated_fades<Tile>(at, s.a, m.last, [&](int place, float prefix, float suffix) {
      m.faded_q[place] = s.q[place] * prefix;
      m.faded_k[place] = s.k[place] * suffix;
    });
    gated_weights<Tile>(at, s, m.weights);
    __syncthreads();
    if (column >= Tile::kCols) continue;
    float o[N][4];
    clear(o);
    delta_product<P>(o, m.weights, kGatedTileStride, s.values + column, Tile::kStride, kGatedRows);
    delta_product<P>(o, m.faded_q, at.stride, m.state + column, Tile::kStride, at.padded);
    gated_store(o, column, at.at(y, first, at.output_column(h)), y.stride, at.count(first),
                at.columns, false);
    if (h + 1 < at.group) continue;
    __syncwarp();
    gated_advance<P, Tile>(at, m.state, m.last, m.faded_k, s.values, column,
                           [](int, int, float, float) {});
  }
}

template <Product P>
void launch(const CudaCall& call, const GatedLinearAttentionCuda& in, const Batched<float>& y) {
  gated_dispatch(in, [&](auto tile) {
    using Tile = decltype(tile);
    const auto bytes =
        static_cast<int>(sizeof(float)) * GatedMemory<Tile>::numbers(in.keys, kStages);
    cuda_check(cudaFuncSetAttribute(gated_forward<P, Tile>,
                                    cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
               "cudaFuncSetAttribute");
    const Index tiles = gated_tiles(in), blocks = y.replicas * in.examples * in.state_heads * tiles;
    gated_forward<P, Tile>
        <<<static_cast<unsigned>(blocks), Tile::kThreads, bytes, call.stream>>>(in, tiles, y);
    cuda_check_launch("gated_linear_attention_forward");
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
