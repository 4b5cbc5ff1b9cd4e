#pragma once

// The unit triangular systems of a chunk. With X = N + N β X, strictly lower as N is,
//   E = (I - N β)⁻¹ e = e + X β e   and   W = (I - Nᵀ β)⁻¹ w = w + Xᵀ β w.
// X is made of the two diagonal blocks of 16 tokens, a thread a column; what the blocks have to do
// with each other goes through N itself: all products of float32 accuracy on tensor cores.

#include "kernels/delta_rule/chunk.cuh"

namespace recallbench {

/// X of the diagonal blocks, by one warp.
template <class Shape>
__device__ inline void delta_invert(const DeltaMemory<Shape>& m) {
  const int lane = static_cast<int>(threadIdx.x) % 32, c = lane % kDeltaHalf;
  const float *n = m.overlaps + lane / kDeltaHalf * kDeltaSecondBlock,
              *beta = m.beta + lane / kDeltaHalf * kDeltaHalf;
  float x[kDeltaHalf], scaled[kDeltaHalf];
#pragma unroll
  for (int i = 0; i < kDeltaHalf; ++i) {
    x[i] = n[i * kDeltaTileStride + c];
#pragma unroll
    for (int j = 0; j < i; j += 4) {
      const float4 row = *reinterpret_cast<const float4*>(n + i * kDeltaTileStride + j);
      x[i] += row.x * scaled[j];
      if (j + 1 < i) x[i] += row.y * scaled[j + 1];
      if (j + 2 < i) x[i] += row.z * scaled[j + 2];
      if (j + 3 < i) x[i] += row.w * scaled[j + 3];
    }
    scaled[i] = beta[i] * x[i];
  }
  __syncwarp();
  float* const to = (lane < kDeltaHalf ? m.first : m.second) + c;
#pragma unroll
  for (int i = 0; i < kDeltaHalf; ++i)
    to[i * kDeltaTileStride] = x[i];
}

/// Half of a system's right sides in eight columns of [32, kCols], as fragments.
template <class Shape>
class DeltaSide {
 public:
  __device__ DeltaSide(const DeltaMemory<Shape>& m, float* at, int row, int column)
      : place_(at + row * m.kStride + column), beta_(m.beta + row) {
    delta_fragments<1>(0, 0,
                       [&](int n, int e, int i, int j) { c[n][e] = place_[i * m.kStride + j]; });
  }
  /// β c in the place that c came from, which other lanes then may read.
  __device__ void put_scaled() const {
    const int i = lane_row();
    float* const to = place_ + i * Shape::kStride + 2 * lane_column();
    *reinterpret_cast<float2*>(to) = make_float2(beta_[i] * c[0][0], beta_[i] * c[0][1]);
    *reinterpret_cast<float2*>(to + 8 * Shape::kStride) =
        make_float2(beta_[i + 8] * c[0][2], beta_[i + 8] * c[0][3]);
  }
  /// c += a (scaled side), and the same with aᵀ.
  template <Product P>
  __device__ void add(const float* a, const DeltaSide& side) {
    delta_product<P>(c, a, kDeltaTileStride, side.place_, Shape::kStride, kDeltaHalf);
  }
  template <Product P>
  __device__ void add_transposed(const float* a, const DeltaSide& side) {
    columns_product<P>(c, a, kDeltaTileStride, side.place_, Shape::kStride, kDeltaHalf);
  }

  float c[1][4];

 private:
  float* place_;
  const float* beta_;
};

/// E from its right sides in `updates`, which becomes U = β E: eight columns a warp.
template <Product P, class Shape>
__device__ inline void delta_solve(const DeltaMemory<Shape>& m) {
  const int column = 8 * delta_warp();
  if (column >= Shape::kCols) return;
  DeltaSide<Shape> upper(m, m.updates, 0, column), lower(m, m.updates, kDeltaHalf, column);
  upper.put_scaled();
  __syncwarp();
  upper.template add<P>(m.first, upper);
  __syncwarp();
  upper.put_scaled();
  __syncwarp();
  lower.template add<P>(m.overlaps + kDeltaHalf * kDeltaTileStride, upper);
  lower.put_scaled();
  __syncwarp();
  lower.template add<P>(m.second, lower);
  __syncwarp();
  lower.put_scaled();
}

}  // namespace recallbench
