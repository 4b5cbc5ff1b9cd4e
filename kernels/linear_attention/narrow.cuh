#pragma once

#include <algorithm>

#include "kernels/cuda/reduce.cuh"
#include "kernels/linear_attention/forms_cuda.h"
#include "kernels/linear_attention/item.cuh"

// What the kernels of narrow heads share: f <= kNarrowFeatures, dh <= kNarrowValues, whose rows of
// keys and values stay in shared memory whole. Rows are padded there with zeros to 16 columns and 4
// more, which nothing reads.

namespace recallbench {

/// Whether all rows of a head, `cols` wide, begin at multiples of 16 bytes and hold whole quads.
inline bool in_quads(const Batched<float>& m, Index cols) {
  return reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0 && m.stride % 4 == 0 &&
         m.replica_stride % 4 == 0 && cols % 4 == 0;
}

struct NarrowLayout {
  int features, values;              ///< f and dh up to the next multiple of 16
  int feature_stride, value_stride;  ///< of rows in shared memory
  bool q_quads, k_quads, v_quads, y_quads;

  explicit NarrowLayout(const LinearAttentionCuda& c)
      : features(static_cast<int>((c.plan.features + 15) / 16 * 16)),
        values(static_cast<int>((c.plan.values + 15) / 16 * 16)),
        feature_stride(features + 4),
        value_stride(values + 4),
        q_quads(in_quads(c.tensors.q, c.plan.features)),
        k_quads(in_quads(c.tensors.k, c.plan.features)),
        v_quads(in_quads(c.tensors.v, c.plan.values)),
        y_quads(in_quads(c.tensors.y, c.plan.values)) {}
};

/// body(i, j) for i < rows and j = 0, step, 2 step ... < cols, dealt to the block's threads,
/// neighbours in j to neighbours. No division but the first.
template <class Body>
__device__ inline void for_block(int rows, int cols, int step, const Body& body) {
  const int each = cols / step, thread = static_cast<int>(threadIdx.x);
  const int down = kThreads / each, across = kThreads % each;
  int i = thread / each, j = thread % each;
  while (i < rows) {
    body(i, j * step);
    i += down;
    j += across;
    if (j >= each) {
      j -= each;
      ++i;
    }
  }
}

/// Rows of global memory on their way to shared memory: to[i][j] = from[i][j], zero beyond `rows`
/// (of `tile_rows`) and `cols` (of `padded`). Ends when the thread waits for its copies.
__device__ inline void copy_rows_async(float* to, int to_stride, const float* from, Index stride,
                                       int tile_rows, int rows, int padded, int cols, bool quads) {
  if (quads)
    for_block(tile_rows, padded, 4, [&](int i, int j) {
      float* place = to + i * to_stride + j;
      if (i < rows && j < cols)
        copy_async<16>(place, from + i * stride + j);
      else
        *reinterpret_cast<float4*>(place) = make_float4(0, 0, 0, 0);
    });
  else
    for_block(tile_rows, padded, 1, [&](int i, int j) {
      float* place = to + i * to_stride + j;
      if (i < rows && j < cols)
        copy_async<4>(place, from + i * stride + j);
      else
        *place = 0;
    });
}

/// row[j .. j + 3], zero from `cols` on.
__device__ inline float4 load_quad(const float* row, int j, int cols, bool quads) {
  if (quads) return j < cols ? *reinterpret_cast<const float4*>(row + j) : make_float4(0, 0, 0, 0);
  return make_float4(j < cols ? row[j] : 0, j + 1 < cols ? row[j + 1] : 0,
                     j + 2 < cols ? row[j + 2] : 0, j + 3 < cols ? row[j + 3] : 0);
}

struct OutputGradient {
  Batched<float> dy;
  bool quads;
};

/// to = dy / denominator of queries [first, first + rows), rows a multiple of 16, and, unless null,
/// dots = -<dy, y> / denominator of each; zero beyond the last query. A warp takes a row, four at a
/// time.
__device__ inline void load_output_gradients(const LinearAttentionCuda& c, const NarrowLayout& s,
                                             const OutputGradient& gradient, const ItemOnDevice& it,
                                             int first, int rows, float* to, float* dots) {
  const int lane = static_cast<int>(threadIdx.x) % 32, j = 4 * lane;
  const bool quads = gradient.quads && s.y_quads;
  for (int base = static_cast<int>(threadIdx.x) / 32; base < rows; base += 4 * kWarps) {
    float4 dy[4], y[4];
    float inverse[4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int i = first + base + u * kWarps, row = min(i, it.queries - 1);
      const int cols = i < it.queries ? it.values : 0;
      dy[u] = load_quad(it.query_row(gradient.dy, it.values, row), j, cols, quads);
      y[u] = load_quad(it.query_row(c.tensors.y, it.values, row), j, dots == nullptr ? 0 : cols,
                       quads);
      inverse[u] = 1 / *it.query_row(c.tensors.denominators, 1, row);
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int i = base + u * kWarps;
      if (dots != nullptr) {
        const float sum =
            warp_sum(dy[u].x * y[u].x + dy[u].y * y[u].y + dy[u].z * y[u].z + dy[u].w * y[u].w);
        if (lane == 0) dots[i] = -sum * inverse[u];
      }
      if (j < s.values)
        *reinterpret_cast<float4*>(to + i * s.value_stride + j) = make_float4(
            dy[u].x * inverse[u], dy[u].y * inverse[u], dy[u].z * inverse[u], dy[u].w * inverse[u]);
    }
  }
}

}  // namespace recallbench
