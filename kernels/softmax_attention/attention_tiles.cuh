#pragma once

#include <cuda_pipeline.h>

#include "kernels/cuda/philox.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/softmax_attention/block_product.cuh"
#include "kernels/tensor/matrix.h"

// What the attention kernels share: which part of the work a block has, tiles of tensors in shared
// memory, and which keys a tile of queries sees.

namespace recallbench {

/// q, k, v, o or a gradient as kernels see it: `rows` of an example, `width` columns of a head.
/// `vector`: every row and head begins at 16 bytes.
struct AttentionTensor {
  float* data = nullptr;
  Index stride = 0, replica_stride = 0;
  int rows = 0, width = 0;
  bool vector = false;
};

/// Where a gradient goes: see Gradient.
struct AttentionTarget {
  AttentionTensor to;
  bool wanted = false, accumulate = false;
};

/// Everything that forward and backward kernels read.
struct AttentionOnDevice {
  int examples, heads;
  float scale;
  int reach;                      ///< keys back that a query sees
  const std::int32_t* positions;  ///< [R, B, Lq], or null: query i at position i
  DropoutOnDevice mask;
  AttentionTensor q, k, v, o;
  float* log_sum;  ///< [R, B, H, Lq], replicas log_sum_stride apart
  Index log_sum_stride;
  /// Heads wider than a tile are cut into `chunks` of columns. Each output chunk is a block's,
  /// which sums the scores over all chunks of q and k.
  int chunks;
};

/// One (replica, example, head).
struct HeadPlace {
  int replica, example, head;
  Index item;  ///< example · H + head
};

__device__ inline HeadPlace head_place(const AttentionOnDevice& a, unsigned index) {
  const int items = a.examples * a.heads, replica = static_cast<int>(index) / items,
            item = static_cast<int>(index) % items;
  return {replica, item / a.heads, item % a.heads, item};
}

__device__ inline float* log_sums(const AttentionOnDevice& a, const HeadPlace& at) {
  return a.log_sum + at.replica * a.log_sum_stride + at.item * a.q.rows;
}

/// Some rows of one head's columns in device memory.
struct TensorBlock {
  float* data;
  Index stride;
  int rows, cols;  ///< how many there are; 0 or less for none
  bool vector;
};

/// From row `row` and the head's column `col` on.
__device__ inline TensorBlock block_of(const AttentionTensor& x, const HeadPlace& at, int row,
                                       int col) {
  const Index first = at.replica * x.replica_stride +
                      (at.example * Index{x.rows} + row) * x.stride + at.head * x.width + col;
  return {x.data + first, x.stride, x.rows - row, x.width - col, x.vector};
}

/// Inner lengths are whole steps of a product: tiles hold zeros up to there.
__device__ inline int whole_steps(int cols) {
  return (max(cols, 0) + 15) / 16 * 16;
}

/// Numbers from row to row of a tile: what a product reads at a time lies in different banks, along
/// rows by pairs and down columns.
template <int kWidth>
inline constexpr int kTileStride = kWidth + 8;

/// Begins to copy the first kRows rows and kWidth columns into a tile; what is not there becomes 0.
template <int kRows, int kWidth>
__device__ void load_tile(const TensorBlock& from, float* tile) {
  const int cols = min(whole_steps(from.cols), kWidth);
  if (from.vector) {
    constexpr int kLanes = kWidth / 4;
    const int col = threadIdx.x % kLanes * 4;
    if (col >= cols) return;
#pragma unroll
    for (int row = threadIdx.x / kLanes; row < kRows; row += kThreads / kLanes) {
      float* to = tile + row * kTileStride<kWidth> + col;
      if (row < from.rows && col < from.cols)
        __pipeline_memcpy_async(to, from.data + row * from.stride + col, 16);
      else
        *reinterpret_cast<float4*>(to) = make_float4(0, 0, 0, 0);
    }
  } else {
    const int col = threadIdx.x % kWidth;
    if (col >= cols) return;
    for (int row = threadIdx.x / kWidth; row < kRows; row += kThreads / kWidth) {
      float* to = tile + row * kTileStride<kWidth> + col;
      if (row < from.rows && col < from.cols)
        __pipeline_memcpy_async(to, from.data + row * from.stride + col, 4);
      else
        *to = 0;
    }
  }
}

/// to = factor · x, or += that, for the rows and columns that are there.
template <int kRows, int kCols>
__device__ void store(const BlockProduct<kRows, kCols>& x, float factor, const TensorBlock& to,
                      bool accumulate) {
  using Product = BlockProduct<kRows, kCols>;
#pragma unroll
  for (int tile = 0; tile < Product::kTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const int row = Product::row(i), col = Product::col(tile, i);
      if (row >= to.rows || col >= min(to.cols, kCols)) continue;
      float* place = to.data + row * to.stride + col;
      float2 value = make_float2(factor * x.at[tile][i], factor * x.at[tile][i + 1]);
      if (to.vector) {
        float2* both = reinterpret_cast<float2*>(place);
        if (accumulate) value.x += both->x, value.y += both->y;
        *both = value;
      } else {
        place[0] = accumulate ? place[0] + value.x : value.x;
        if (col + 1 < to.cols) place[1] = accumulate ? place[1] + value.y : value.y;
      }
    }
}

/// Visible keys of one query, and its position: the last of them. Nothing for a row without query.
struct QueryKeys {
  int begin = 0, end = 0;
};

__device__ inline QueryKeys keys_of(const AttentionOnDevice& a, const HeadPlace& at, int query) {
  if (query >= a.q.rows) return {};
  int position = query;
  if (a.positions != nullptr)
    position = a.positions[(at.replica * Index{a.examples} + at.example) * a.q.rows + query];
  return {max(0, position - a.reach), position + 1};
}

__host__ __device__ constexpr int bit_words(int tiles) {
  return (tiles + 31) / 32;
}

/// Fills keys[kQueries] for the queries from `first` on, and sets the bits of the `tiles` tiles of
/// kKeys keys that any of them sees.
template <int kQueries, int kKeys>
__device__ void find_keys(const AttentionOnDevice& a, const HeadPlace& at, int first, int tiles,
                          QueryKeys* keys, unsigned* seen) {
  const int query = threadIdx.x;
  QueryKeys mine;
  if (query < kQueries) keys[query] = mine = keys_of(a, at, first + query);
  for (int word = threadIdx.x; word < bit_words(tiles); word += kThreads)
    seen[word] = 0;
  __syncthreads();
  if (mine.end > 0) {
    const int low = mine.begin / kKeys, high = (mine.end - 1) / kKeys;
    for (int word = low / 32; word <= high / 32; ++word) {
      const int from = max(low - 32 * word, 0), to = min(high - 32 * word, 31);
      atomicOr(seen + word, ~0u << from & ~0u >> (31 - to));
    }
  }
  __syncthreads();
}

/// The first tile from `tile` on whose bit is `bit`, or `tiles`.
__device__ inline int next_tile(const unsigned* seen, int tile, int tiles, bool bit = true) {
  while (tile < tiles && (seen[tile / 32] >> tile % 32 & 1) != (bit ? 1u : 0u))
    ++tile;
  return tile;
}

/// The scales of mask element `first` and the next.
__device__ inline float2 dropout_pair(const DropoutOnDevice& mask, int replica, Index first) {
  const float4 four = dropout_scales(mask, replica, static_cast<std::uint32_t>(first / 4));
  switch (first % 4) {
    case 0:
      return make_float2(four.x, four.y);
    case 1:
      return make_float2(four.y, four.z);
    case 2:
      return make_float2(four.z, four.w);
    default:
      return make_float2(
          four.w, dropout_scales(mask, replica, static_cast<std::uint32_t>(first / 4 + 1)).x);
  }
}

/// The scales of four elements from `first` on.
__device__ inline float4 dropout_four(const DropoutOnDevice& mask, int replica, Index first) {
  if (first % 4 == 0) return dropout_scales(mask, replica, static_cast<std::uint32_t>(first / 4));
  const float2 low = dropout_pair(mask, replica, first);
  const float2 high = dropout_pair(mask, replica, first + 2);
  return make_float4(low.x, low.y, high.x, high.y);
}

/// Number of the mask's element for the head's query at `position` and key 0.
__device__ inline Index first_element(const AttentionOnDevice& a, const HeadPlace& at,
                                      int position) {
  return (at.item * a.k.rows + position) * a.k.rows;
}

}  // namespace recallbench
