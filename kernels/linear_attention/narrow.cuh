#pragma once

#include <algorithm>

#include "kernels/cuda/async_copy.cuh"
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

}  // namespace recallbench
