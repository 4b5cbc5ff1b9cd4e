// Floor: reads q, k, v, g and writes o once. A token and state head needs about
// 2 (2 K V + 16 (2 K + V)) FLOPs: at B = 256, L = 256, K = 64, V = 128 in all, 4 heads, 1 GFLOP;
// the weights between tokens of a chunk are made key by key, at no division. The state stays in
// shared memory from chunk to chunk.
#include "kernels/gated_linear_attention/chunk.cuh"

namespace recallbench {
namespace {

template <Product P, int Cols>
__global__ void __launch_bounds__(kGatedThreads)
    gated_forward(GatedLinearAttentionCuda in, Index tiles, Batched<float> y) {
  extern __shared__ float4 memory[];
  const GatedPlace at(in, tiles, Cols);
  const GatedMemory<Cols> m(reinterpret_cast<float*>(memory), at);
  const int column = static_cast<int>(threadIdx.x) / 32 * 8;  // of this warp's outputs
  for (int i = static_cast<int>(threadIdx.x); i < at.padded * m.kStride; i += kGatedThreads)
    m.state[i] = 0;
  for (int first = 0; first < at.length; first += kGatedRows) {
    const int count = at.count(first);
    gated_load_chunk(in, at, m, first);
    __syncthreads();
    for (int h = 0; h < at.group; ++h) {
      gated_load_queries(in, at, m, first, h);
      __syncthreads();
      gated_weights(at, m);
      __syncthreads();
      if (column < Cols) {
        float o[1][4];
        clear(o);
        delta_product<P>(o, m.weights, kGatedTileStride, m.v + column, m.kStride, kGatedRows);
        delta_product<P>(o, m.faded_q, at.stride, m.state + column, m.kStride, at.padded);
        float* to = at.at(y, first, at.output_column(h));
        delta_fragments<1>(0, column, [&](int, int e, int i, int j) {
          if (i < count && j < at.columns) to[i * y.stride + j] = o[0][e];
        });
      }
      __syncthreads();
    }
    gated_advance<P>(at, m);
    __syncthreads();
  }
}

template <Product P, int Cols>
void launch(const CudaCall& call, const GatedLinearAttentionCuda& in, const Batched<float>& y) {
  const int bytes = GatedMemory<Cols>::numbers(in.keys) * static_cast<int>(sizeof(float));
  cuda_check(cudaFuncSetAttribute(gated_forward<P, Cols>,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
             "cudaFuncSetAttribute");
  const Index tiles = gated_tiles(in), blocks = y.replicas * in.examples * in.state_heads * tiles;
  gated_forward<P, Cols>
      <<<static_cast<unsigned>(blocks), kGatedThreads, bytes, call.stream>>>(in, tiles, y);
  cuda_check_launch("gated_linear_attention_forward");
}

template <Product P>
void launch(const CudaCall& call, const GatedLinearAttentionCuda& in, const Batched<float>& y) {
  gated_columns(in) == 32 ? launch<P, 32>(call, in, y) : launch<P, 64>(call, in, y);
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
