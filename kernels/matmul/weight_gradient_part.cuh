#pragma once

// Where a block of a weight gradient leaves its tile of the sum over its rows.

#include "kernels/matmul/weight_gradient_plan.cuh"

namespace recallbench::weight_gradient {

/// Where a block's part of dweight [out, in] and of dbias [out] goes: tall and narrow columns that
/// are there, from the block's first on, and how far apart they lie.
struct Part {
  float *data, *bias;
  Index tall_stride, narrow_stride;  // one of them is 1
  int tall, narrow;
  bool pairs;  // every second number can be written with the next
};

template <class T>
__device__ Part part_of(const WeightGradient& w, const Range& range) {
  const Index tall0 = blockIdx.x % w.tall_tiles * T::kTall;
  const Index narrow0 = blockIdx.x / w.tall_tiles * T::kNarrow;
  const Index tall_stride = w.tall_is_x ? 1 : w.in(), narrow_stride = w.tall_is_x ? w.in() : 1;
  float* data = w.parts + (blockIdx.z * w.slices.count + blockIdx.y) * w.part_numbers();
  return {data + tall0 * tall_stride + narrow0 * narrow_stride,
          data + w.out() * w.in() + (w.tall_is_x ? narrow0 : tall0),
          tall_stride,
          narrow_stride,
          range.tall_columns,
          range.narrow_columns,
          w.part_pairs};
}

__device__ inline void store_pair(float first, float second, int count, bool together, float* to) {
  if (together && count >= 2) {
    *reinterpret_cast<float2*>(to) = make_float2(first, second);
  } else {
    if (count > 0) to[0] = first;
    if (count > 1) to[1] = second;
  }
}

template <bool kWhole, int kEights>
__device__ void store_eights(const float (&product)[kEights][4], int tall0, int narrow0,
                             const Part& part) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int m0 = tall0 + lane / 4 * 2, n0 = narrow0 + lane % 4 * 2;
  const bool tall_pairs = part.tall_stride == 1;
  float* const to = part.data + m0 * part.tall_stride + n0 * part.narrow_stride;
  const Index next = tall_pairs ? part.narrow_stride : part.tall_stride;
#pragma unroll
  for (int e = 0; e < kEights; ++e) {
    const float(&p)[4] = product[e];
    const int tall = kWhole ? 2 : part.tall - m0, narrow = kWhole ? 2 : part.narrow - n0 - e * 8;
    const int rows = tall_pairs ? narrow : tall, columns = tall_pairs ? tall : narrow;
    const bool together = kWhole || part.pairs;
    float* const at = to + e * 8 * part.narrow_stride;
    if (rows > 0) store_pair(p[0], tall_pairs ? p[2] : p[1], columns, together, at);
    if (rows > 1) store_pair(tall_pairs ? p[1] : p[2], p[3], columns, together, at + next);
  }
}

/// By a warp: the product of sixteen tall columns from `tall0` on and eights of narrow ones from
/// `narrow0` on. Of each eight a lane has tall columns 2 (lane / 4) and the next, narrow columns
/// 2 (lane % 4) and the next, either of which may lie side by side.
template <int kEights>
__device__ void store_fragments(const float (&product)[kEights][4], int tall0, int narrow0,
                                const Part& part) {
  if (part.pairs && tall0 + 16 <= part.tall && narrow0 + 8 * kEights <= part.narrow)
    store_eights<true>(product, tall0, narrow0, part);
  else
    store_eights<false>(product, tall0, narrow0, part);
}

}  // namespace recallbench::weight_gradient
