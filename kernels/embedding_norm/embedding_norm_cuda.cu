// Floor: forward writes stream and norm (the table stays in L2), backward reads the stream and two
// gradients and writes, then reads, that of the embeddings (B = 256, L = 256, D = 128: 67 and 168
// MB, 16 and 40 us); apart, embedding, dropout and norm would move 168 and 235 MB. Backward is
// residual_norm's, with the embeddings for its branch, and then embedding's.
#include "kernels/dropout/dropout_on_device.cuh"
#include "kernels/embedding_norm/embedding_norm_cuda.h"
#include "kernels/norm/norm_rows.cuh"

namespace recallbench {
namespace {

struct EmbeddingSource {
  const std::int32_t* tokens;
  Batched<float> table, stream;
  DropoutOnDevice mask;
  template <int kVec>
  __device__ void load(int replica, Index row, Index col, float (&to)[kVec]) const {
    float scales[kVec];
    const Index token = tokens[replica * stream.rows + row];
    load_numbers(place_of(table, replica, token, col), to);
    dropout_scales(mask, replica, row * stream.cols + col, scales);
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      to[k] *= scales[k];
    store_numbers(to, place_of(stream, replica, row, col));
  }
};

}  // namespace

void embedding_norm_forward_cuda(const CudaCall& call, std::uint32_t random_id, double p,
                                 const std::int32_t* tokens, const Batched<float>& table,
                                 const Batched<float>& weight, const Batched<float>& bias,
                                 double eps, const Batched<float>& stream,
                                 const Batched<float>& normalised, const Batched<float>& saved) {
  norm_forward_cuda(call,
                    EmbeddingSource{tokens, table, stream, dropout_on_device(call, random_id, p)},
                    all_in_quads(table, stream), weight, bias, eps, normalised, saved);
}

}  // namespace recallbench
