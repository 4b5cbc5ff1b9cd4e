// Linear attention of narrow heads, forward. A block has 16, 32 or 64 queries of an item and
// streams the keys they see through shared memory, the next 64 on their way while these are used;
// weights never leave the registers. With few queries (labelled ones) its warps share the keys and
// add their sums at the end. Floor: k and v read once for each block, 4 (f + dh) bytes a key, and
// 2 (f + dh) operations for each pair that sees each other; for n queries at labels the bytes are
// the longer, and two or more blocks of a multiprocessor keep some 40 KB on their way.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/linear_attention/forms_cuda.h"
#include "kernels/linear_attention/narrow.cuh"

namespace recallbench {
namespace {

/// The memory of a block: 16·kRows queries, two stages of keys and values; at the end, over the
/// stages, the sums of all warps.
template <int kRows>
__host__ __device__ inline int forward_numbers(const NarrowLayout& s) {
  return 16 * kRows * s.feature_stride + 2 * kTile * (s.feature_stride + s.value_stride);
}

/// kRows groups of 16 queries, for each of which 4 / kRows warps share the keys of a tile; values
/// in kValues fragments.
template <Precision P, int kRows, int kValues>
__global__ __launch_bounds__(kThreads) void narrow_forward(LinearAttentionCuda c, NarrowLayout s,
                                                           int query_tiles) {
  after_previous();
  constexpr int kSharing = kWarps / kRows, kQueries = 16 * kRows, kKeys = kTile / kSharing;
  extern __shared__ __align__(16) float memory[];
  __shared__ float parts[kSharing][kQueries];  // of the sums of weights
  float *const q = memory, *const stages = q + kQueries * s.feature_stride;
  const int stage_numbers = kTile * (s.feature_stride + s.value_stride);
  const ItemOnDevice it(c, blockIdx.x / query_tiles);
  // The last queries, which see the most keys, come first.
  const int first = (query_tiles - 1 - static_cast<int>(blockIdx.x % query_tiles)) * kQueries;
  const int warp = threadIdx.x / 32, group = warp % kRows, share = warp / kRows;
  const int row = first + 16 * group, g = lane_row(), t = lane_column();
  const Weight weight(c.plan);
  const int positions[2] = {it.position(row + g), it.position(row + g + 8)};
  const int keys = it.visible(first, kQueries);
  const int own_keys = __reduce_max_sync(0xffffffffu, max(positions[0], positions[1])) + 1;
  const int value_tiles = (it.values + 7) / 8;

  const auto begin_stage = [&](int key) {
    float* to = stages + key / kTile % 2 * stage_numbers;
    copy_rows_async(to, s.feature_stride, it.key_row(c.tensors.k, it.features, key),
                    c.tensors.k.stride, kTile, it.length - key, s.features, it.features, s.k_quads);
    copy_rows_async(to + kTile * s.feature_stride, s.value_stride,
                    it.key_row(c.tensors.v, it.values, key), c.tensors.v.stride, kTile,
                    it.length - key, s.values, it.values, s.v_quads);
  };
  begin_stage(0);
  copy_rows_async(q, s.feature_stride, it.query_row(c.tensors.q, it.features, first),
                  c.tensors.q.stride, kQueries, it.queries - first, s.features, it.features,
                  s.q_quads);
  copies_end_group();

  float y[kValues][4], sums[2] = {0, 0};
  clear(y);
  for (int key = 0; key < keys; key += kTile) {
    if (key + kTile < keys) begin_stage(key + kTile);
    copies_end_group();
    copies_wait<1>();
    __syncthreads();
    const float* k = stages + key / kTile % 2 * stage_numbers;
    const float* v = k + kTile * s.feature_stride;
    for (int i = share * kKeys; i < (share + 1) * kKeys; i += 16) {
      if (key + i >= own_keys) break;
      float w[2][4];
      clear(w);
      rows_product<exact_product(P)>(w, q + 16 * group * s.feature_stride, s.feature_stride,
                                     k + i * s.feature_stride, s.feature_stride, s.features);
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const bool sees = key + i + 8 * n + 2 * t + e % 2 <= positions[e / 2];
          w[n][e] = sees ? weight(w[n][e]) : 0.0f;
          sums[e / 2] += w[n][e];
        }
      fragment_product<product_of(P)>(y, w[0], w[1], v + i * s.value_stride, s.value_stride,
                                      value_tiles);
    }
    __syncthreads();
  }

  // All sums to shared memory; then whole rows of y.
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const float sum = warp_sum<4>(sums[e]);
    if (t == 0) parts[share][16 * group + g + 8 * e] = sum;
  }
#pragma unroll
  for (int n = 0; n < kValues; ++n)
#pragma unroll
    for (int e = 0; e < 4; e += 2)
      if (n < value_tiles)
        *reinterpret_cast<float2*>(
            stages + (share * kQueries + 16 * group + g + 4 * e) * s.value_stride + 8 * n + 2 * t) =
            make_float2(y[n][e], y[n][e + 1]);
  __syncthreads();
  const auto denominator = [&](int i) {
    float sum = static_cast<float>(c.plan.options.eps);
    for (int p = 0; p < kSharing; ++p)
      sum += parts[p][i];
    return sum;
  };
  const auto total = [&](int i, int j) {
    float sum = 0;
    for (int p = 0; p < kSharing; ++p)
      sum += stages[(p * kQueries + i) * s.value_stride + j];
    return sum / denominator(i);
  };
  const int rows = min(kQueries, it.queries - first);
  float* const to = it.query_row(c.tensors.y, it.values, first);
  if (s.y_quads)
    for_block(rows, it.values, 4, [&](int i, int j) {
      *reinterpret_cast<float4*>(to + i * c.tensors.y.stride + j) =
          make_float4(total(i, j), total(i, j + 1), total(i, j + 2), total(i, j + 3));
    });
  else
    for_block(rows, it.values, 1,
              [&](int i, int j) { to[i * c.tensors.y.stride + j] = total(i, j); });
  if (static_cast<int>(threadIdx.x) < rows)
    *it.query_row(c.tensors.denominators, 1, first + threadIdx.x) = denominator(threadIdx.x);
}

template <Precision P, int kRows, int kValues>
void launch(const CudaCall& call, const LinearAttentionCuda& c, const NarrowLayout& s) {
  const Index tiles = (c.plan.queries + 16 * kRows - 1) / (16 * kRows);
  const Index blocks = c.tensors.q.replicas * c.plan.items() * tiles;
  const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(forward_numbers<kRows>(s));
  cuda_allow_shared(narrow_forward<P, kRows, kValues>, bytes, "linear_attention narrow_forward");
  cuda_launch("linear_attention narrow_forward", narrow_forward<P, kRows, kValues>,
              {static_cast<unsigned>(blocks), kThreads, bytes, call.stream}, c, s,
              static_cast<int>(tiles));
}

template <Precision P, int kRows>
void launch_values(const CudaCall& call, const LinearAttentionCuda& c) {
  const NarrowLayout s(c);
  c.plan.values <= 64 ? launch<P, kRows, 8>(call, c, s) : launch<P, kRows, 16>(call, c, s);
}

template <Precision P>
void launch_rows(const CudaCall& call, const LinearAttentionCuda& c) {
  if (c.plan.queries <= 16)
    launch_values<P, 1>(call, c);
  else if (c.plan.queries <= 32)
    launch_values<P, 2>(call, c);
  else
    launch_values<P, 4>(call, c);
}

}  // namespace

void narrow_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c) {
  switch (call.precision) {
    case Precision::fp32:
      return launch_rows<Precision::fp32>(call, c);
    case Precision::tf32:
      return launch_rows<Precision::tf32>(call, c);
    case Precision::bf16:
      return launch_rows<Precision::bf16>(call, c);
  }
}

}  // namespace recallbench
