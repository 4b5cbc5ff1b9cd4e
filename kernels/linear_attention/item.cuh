#pragma once

#include "kernels/cuda/runtime.h"
#include "kernels/linear_attention/linear_attention_cuda.h"
#include "kernels/linear_attention/products.cuh"

namespace recallbench {

constexpr int kTile = 64;  ///< queries and keys of a tile, at most
constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;

/// One (replica, example, head) as a kernel sees it.
struct ItemOnDevice {
  Index replica, first_query, first_key;  ///< rows of the tensors where it begins
  int head;
  const std::int32_t* positions;  ///< [queries] or null
  int queries, length, features, values;

  /// Divisions are of 32 bits: a block's first instructions are a chain that all wait for.
  __device__ ItemOnDevice(const LinearAttentionCuda& c, std::uint32_t index)
      : queries(static_cast<int>(c.plan.queries)),
        length(static_cast<int>(c.plan.length)),
        features(static_cast<int>(c.plan.features)),
        values(static_cast<int>(c.plan.values)) {
    const auto heads = static_cast<std::uint32_t>(c.plan.options.heads);
    const auto examples = static_cast<std::uint32_t>(c.plan.examples);
    const std::uint32_t pair = index / heads, example = pair % examples;
    head = static_cast<int>(index % heads);
    replica = pair / examples;
    first_query = example * c.plan.queries;
    first_key = example * c.plan.length;
    positions =
        c.tensors.positions == nullptr ? nullptr : c.tensors.positions + pair * c.plan.queries;
  }

  /// First number of the head in the item's query `row`, or key `row`.
  __device__ float* query_row(const Batched<float>& m, int cols, Index row) const {
    return m.data + replica * m.replica_stride + (first_query + row) * m.stride + head * cols;
  }
  __device__ float* key_row(const Batched<float>& m, int cols, Index row) const {
    return m.data + replica * m.replica_stride + (first_key + row) * m.stride + head * cols;
  }

  /// Where query i stands; -1, which sees nothing, beyond the last.
  __device__ int position(int i) const {
    return i >= queries ? -1 : positions == nullptr ? i : positions[i];
  }

  /// All that queries [first, first + count), count <= kTile, see lies before this. Every lane of a
  /// warp calls.
  __device__ int visible(int first, int count = kTile) const {
    if (positions == nullptr) return min(min(first + count, queries), length);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int near = lane < count ? position(first + lane) : -1;
    const int far = lane + 32 < count ? position(first + lane + 32) : -1;
    return min(__reduce_max_sync(0xffffffffu, max(near, far)) + 1, length);
  }
};

/// The weight of a score's product <q, k>, and how it grows with it.
struct Weight {
  float scale;
  bool taylor;

  __device__ explicit Weight(const LinearAttentionPlan& p)
      : scale(static_cast<float>(p.options.scale)),
        taylor(p.options.kernel == LinearKernel::taylor) {}

  __device__ float operator()(float product) const {
    const float s = scale * product;
    return taylor ? 1 + s * (1 + 0.5f * s) : s;
  }
  __device__ float slope(float product) const {
    return taylor ? scale * (1 + scale * product) : scale;
  }
};

/// to[i][j] = factor(i) · from[i][j] for i < kTile, j < Cols, zero beyond `rows` and `cols`. All
/// threads of the block call.
template <int Cols, class Factor>
__device__ inline void load_tile(float* to, int to_stride, const float* from, Index stride,
                                 int rows, int cols, const Factor& factor) {
#pragma unroll 4
  for (int at = threadIdx.x; at < kTile * Cols; at += kThreads) {
    const int i = at / Cols, j = at % Cols;
    to[i * to_stride + j] = i < rows && j < cols ? factor(i) * from[i * stride + j] : 0.0f;
  }
}

template <int Cols>
__device__ inline void load_tile(float* to, int to_stride, const float* from, Index stride,
                                 int rows, int cols) {
  load_tile<Cols>(to, to_stride, from, stride, rows, cols, [](int) { return 1.0f; });
}

/// A warp's fragments [16, 8 N] to global memory: to[i][j] = value, or += where `add`, for
/// i < rows, j < cols; with `pairs` rows begin at multiples of 8 bytes and cols is even.
template <int N>
__device__ inline void store_fragments(const float (&c)[N][4], float* to, Index stride, int rows,
                                       int cols, bool add, bool pairs = false) {
  const int g = lane_row(), t = lane_column();
#pragma unroll
  for (int n = 0; n < N; ++n) {
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      const int i = g + 4 * e, j = 8 * n + 2 * t;
      if (i >= rows || j >= cols) continue;
      float* place = to + i * stride + j;
      if (pairs) {
        float2* pair = reinterpret_cast<float2*>(place);
        const float2 old = add ? *pair : make_float2(0, 0);
        *pair = make_float2(old.x + c[n][e], old.y + c[n][e + 1]);
      } else {
        place[0] = add ? place[0] + c[n][e] : c[n][e];
        if (j + 1 < cols) place[1] = add ? place[1] + c[n][e + 1] : c[n][e + 1];
      }
    }
  }
}

}  // namespace recallbench
