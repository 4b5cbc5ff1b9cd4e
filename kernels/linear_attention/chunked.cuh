#pragma once

#include "kernels/linear_attention/narrow.cuh"

// What the kernels of the chunked form share. A chunk's state is S [F, dh] = Σ φ(k) vᵀ and, after
// it, z [F] = Σ φ(k), over all chunks before it; for the gradient G [F, dh] = Σ φ(q) nᵀ and
// Σ φ(q) d over all after it (n = dy / denominator, d = -<dy, y> / denominator). z is summed
// in float32 without tensor cores: denominators are sensitive.

namespace recallbench {

constexpr int kChunkLength = 256;
constexpr int kMaxFeaturePairs =
    (1 + kNarrowFeatures + kNarrowFeatures * (kNarrowFeatures + 1) / 2 + 15) / 16 * 16;

/// The states of all chunks of all items, in scratch.
struct ChunkStates {
  float* data;
  int features, rows;  ///< F, and up to the next multiple of 16: rows of S and of z
  int cols;            ///< dh up to the next multiple of 16
  int chunks;
  Index stride;  ///< numbers of one state

  ChunkStates(const LinearAttentionPlan& plan, float* scratch)
      : data(scratch),
        features(static_cast<int>(plan.options.kernel == LinearKernel::taylor
                                      ? 1 + plan.features + plan.features * (plan.features + 1) / 2
                                      : plan.features)),
        rows((features + 15) / 16 * 16),
        cols(static_cast<int>((plan.values + 15) / 16 * 16)),
        chunks(static_cast<int>((plan.length + kChunkLength - 1) / kChunkLength)),
        stride(Index{rows} * (cols + 1)) {}

  __device__ float* of(Index item, int chunk) const {
    return data + (item * chunks + chunk) * stride;
  }
};

/// φ of a row x as products of two numbers of the longer row [√scale x; 1; 0; √(scale / 2) x]:
/// φ = [1; √scale x; for each i: scale x_i x_j for j < i, scale x_i² / √2], or x for given
/// features.
class FeaturePairs {
 public:
  __device__ FeaturePairs(const LinearAttentionPlan& plan, const ItemOnDevice& it)
      : taylor_(plan.options.kernel == LinearKernel::taylor),
        f_(it.features),
        root_(taylor_ ? sqrtf(static_cast<float>(plan.options.scale)) : 1.0f) {}

  __device__ int width() const { return 2 * f_ + 2; }
  __device__ float root() const { return root_; }
  __device__ bool taylor() const { return taylor_; }

  /// The two numbers whose product is feature `c`; zeros beyond the last.
  __device__ uchar2 operator()(int c) const {
    if (!taylor_) return c < f_ ? pair(c, f_) : pair(f_ + 1, f_ + 1);
    if (c <= f_) return c == 0 ? pair(f_, f_) : pair(c - 1, f_);
    const int p = c - 1 - f_;
    int i = static_cast<int>((sqrtf(8.0f * static_cast<float>(p) + 1) - 1) / 2);
    while (i * (i + 1) / 2 > p)
      --i;
    while ((i + 1) * (i + 2) / 2 <= p)
      ++i;
    const int j = p - i * (i + 1) / 2;
    if (i >= f_) return pair(f_ + 1, f_ + 1);
    return pair(i, j < i ? j : f_ + 2 + i);
  }

  /// Longer rows of tile_rows rows in global memory, of which `rows` are there; the others are 0.
  __device__ void load(float* to, int to_stride, const float* from, Index stride, int tile_rows,
                       int rows) const {
    for_block(tile_rows, f_, 1, [&](int i, int j) {
      const float x = i < rows ? root_ * from[i * stride + j] : 0.0f;
      to[i * to_stride + j] = x;
      to[i * to_stride + f_ + 2 + j] = 0.70710678118654752f * x;
      if (j > 0) return;
      to[i * to_stride + f_] = i < rows ? 1.0f : 0.0f;
      to[i * to_stride + f_ + 1] = 0;
    });
  }

  /// Element i of the gradient of x, of that of φ and x's longer row.
  __device__ float gradient(const float* dphi, const float* x, int i) const {
    if (!taylor_) return dphi[i];
    const float* second = dphi + 1 + f_;  // row i begins at i (i + 1) / 2
    float sum = dphi[1 + i];
    for (int j = 0; j < i; ++j)
      sum += second[i * (i + 1) / 2 + j] * x[j];
    sum += 1.41421356237309505f * second[i * (i + 1) / 2 + i] * x[i];
    for (int j = i + 1; j < f_; ++j)
      sum += second[j * (j + 1) / 2 + i] * x[j];
    return root_ * sum;
  }

 private:
  __device__ static uchar2 pair(int a, int b) {
    return make_uchar2(static_cast<unsigned char>(a), static_cast<unsigned char>(b));
  }

  bool taylor_;
  int f_;
  float root_;
};

/// A warp's fragments of φ: rows g and g + 8 of `x` (longer rows), features first .. first + 15.
__device__ inline void feature_fragments(float (&w)[2][4], const float* x, int x_stride,
                                         const uchar2* pairs, int first) {
  const float *upper = x + lane_row() * x_stride, *lower = upper + 8 * x_stride;
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const uchar2 p = pairs[first + 8 * n + 2 * lane_column() + e];
      w[n][e] = upper[p.x] * upper[p.y];
      w[n][2 + e] = lower[p.x] * lower[p.y];
    }
}

/// Rows base .. base + kTile - 1 of a state to shared memory, zero beyond the last; waits for them.
__device__ inline void load_state_tile(float* to, float* z, const NarrowLayout& s,
                                       const ChunkStates& states, const float* state, int base) {
  copy_rows_async(to, s.value_stride, state + Index{base} * states.cols, states.cols, kTile,
                  states.rows - base, s.values, s.values, true);
  copies_end_group();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kTile)
    z[thread] =
        base + thread < states.rows ? state[Index{states.rows} * states.cols + base + thread] : 0;
  copies_wait<0>();
}

/// S of every chunk but the last, or (with `dy`) G of every chunk but the first, then their sums
/// over the chunks before, or after: chunked_states_cuda.cu.
void chunk_states_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                       const ChunkStates& states, const OutputGradient* dy);

}  // namespace recallbench
