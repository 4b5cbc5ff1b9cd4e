#pragma once

#include "kernels/cuda/reduce.cuh"
#include "kernels/ssd/products.cuh"
#include "kernels/ssd/shares.cuh"

// What a block of ssd's backward has in shared memory, and what it leaves at its end.

namespace recallbench {

/// What a launch of ssd's backward knows.
struct SsdBackward {
  SsdSize s;
  SsdStates states;
  SsdAligned aligned;
  Index parts;
  SsdViews<float> in;
  Batched<float> dy, kept;  // kept: states before chunks
  SsdGradients<float> out;
  SsdShares shares;
};

/// Gradients of the scores' transpose: rows s, columns t >= s, in blocks of 16 rows, each as long
/// as it must be and four numbers more. Of 16 columns, t and t + 8 are neighbours.
struct SsdPairs {
  float numbers[16 * (68 + 52 + 36 + 20)];

  static __device__ int stride(int block) { return kSsdChunk + kSsdPad - 16 * block; }
  /// Where the 16 columns from t on begin in the block's first row, t >= 16 block.
  __device__ float* columns(int block, int t) {
    return numbers + 16 * block * (kSsdChunk + kSsdPad) - 128 * block * (block - 1) + t -
           16 * block;
  }
  /// Two neighbouring fragments of the 16 columns from t on.
  __device__ void store(int block, int t, const float (&c)[2][4]) {
    float* const to = columns(block, t) + lane_row() * stride(block) + 4 * lane_column();
#pragma unroll
    for (int e = 0; e < 4; e += 2)
      *reinterpret_cast<float4*>(to + 4 * e * stride(block)) =
          make_float4(c[0][e], c[1][e], c[0][e + 1], c[1][e + 1]);
  }
  /// c [16, 8 M] += the transpose of the block's 16 columns from t on, times b [16, 8 M].
  template <Product P, int M>
  __device__ void add_product(float (&c)[M][4], int block, int t, const float* b, int b_stride) {
    const float* const from = columns(block, t) + 2 * lane_row();
    const auto pair = [&](int k) {
      return *reinterpret_cast<const float2*>(from + k * stride(block));
    };
    if constexpr (P == Product::fp32) {
#pragma unroll 4
      for (int k = 0; k < 16; ++k)
        add_outer(c, pair(k).x, pair(k).y, b + k * b_stride, M);
    } else {
      const int k = 2 * lane_column();
      const float2 x[4] = {pair(k), pair(k + 1), pair(k + 8), pair(k + 9)};
      add_columns(c,
                  LeftFactor<P>({x[0].x, x[1].x, x[2].x, x[3].x}, {x[0].y, x[1].y, x[2].y, x[3].y}),
                  b, b_stride, M);
    }
  }
};

/// Where a block reads and writes.
struct SsdBackwardPlaces {
  SsdSources from;
  SsdColumns dy, dx, ddt, share;  // share: of the gradients of b and c
  float* kept;

  /// By two threads; the others see it after a barrier.
  template <int N>
  __device__ void place(const SsdBackward& f, const SsdPlace& at) {
    if (threadIdx.x == 0) from.place(f.in, at, at.group * f.s.states + f.states.first);
    if (threadIdx.x != 32) return;
    dy = ssd_columns(f.dy, at, at.channel);
    dx = ssd_columns(f.out.x.view, at, at.channel);
    ddt = ssd_columns(f.out.dt.view, at, at.head);
    const Index head = at.replica * f.s.heads * at.parts + at.head_part();
    const int width = 2 * f.states.share();
    share = {f.shares.tokens + (head * f.s.examples * f.s.length + at.row) * width, width};
    kept = ssd_kept_states<N>(f.kept, f.s, at, f.states);
  }
};

/// Shared memory of a block. Sums that make the gradients of ln a and Δ: of those that see, by each
/// block of 16 seen, of those seen, and of the state.
template <int N>
struct SsdBackwardChunk {
  SsdTokens x, dy;
  SsdStateRows<N> b[2], c;    // b: of even and odd chunks
  SsdState<N> state, dstate;  // before the chunk; the gradient after it
  SsdPairs dscores;
  SsdSteps steps[2];
  float row_log[kSsdWarps][kSsdChunk], column_sums[2][kSsdChunk];  // to ln a, to Δ
  float output_log[kSsdChunk], products[kSsdChunk];
  float skips[kSsdChannels];
  float dots[kSsdWarps];
  SsdBackwardPlaces places;
};
static_assert(3 * (sizeof(SsdBackwardChunk<16>) + 1024) <= 228 * 1024, "three blocks");

/// The lane's part of <state, other>.
template <int N>
__device__ inline float ssd_state_dot(const SsdStateFragments<N>& state, const SsdState<N>& other) {
  float dot = 0;
  ssd_for_state<N>([&](int m, int j, int e, int n, int p) {
    const float2 pair = *reinterpret_cast<const float2*>(&other[n][p]);
    dot += state[m][j][e] * pair.x + state[m][j][e + 2] * pair.y;
  });
  return dot;
}

/// The sums over the lanes' g of what they have of two neighbouring fragments' columns; the lane
/// gets that of column 8 (g / 4) + 2t + g / 2 % 2.
__device__ inline float ssd_row_sums(const float (&c)[2][2]) {
  const int g = lane_row();
  float two[2];
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const float other = __shfl_xor_sync(0xffffffffu, g & 4 ? c[0][e] : c[1][e], 16);
    two[e] = (g & 4 ? c[1][e] : c[0][e]) + other;
  }
  const float other = __shfl_xor_sync(0xffffffffu, g & 2 ? two[0] : two[1], 8);
  const float sum = (g & 2 ? two[1] : two[0]) + other;
  return sum + __shfl_xor_sync(0xffffffffu, sum, 4);
}

/// The sums over the lanes' t of four numbers; the lane gets that of number t.
__device__ inline float ssd_column_sums(const float (&c)[4]) {
  const int t = lane_column();
  float two[2];
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const float other = __shfl_xor_sync(0xffffffffu, t & 2 ? c[e] : c[e + 2], 2);
    two[e] = (t & 2 ? c[e + 2] : c[e]) + other;
  }
  const float other = __shfl_xor_sync(0xffffffffu, t & 1 ? two[0] : two[1], 1);
  return (t & 1 ? two[1] : two[0]) + other;
}

/// The block's shares of da_log and ddt_bias, of which each lane has a part.
template <int N>
__device__ void ssd_store_rates(const SsdBackward& f, const SsdPlace& at, float da_log, float dbias,
                                SsdBackwardChunk<N>& chunk) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  da_log = warp_sum(da_log);
  dbias = warp_sum(dbias);
  __syncthreads();  // all of the last chunk is read
  if (threadIdx.x % 32 == 0) {
    chunk.column_sums[0][warp] = da_log;
    chunk.column_sums[1][warp] = dbias;
  }
  __syncthreads();
  if (threadIdx.x > 1) return;
  const float* const warps = chunk.column_sums[threadIdx.x];
  float sum = 0;
  for (int w = 0; w < kSsdWarps; ++w)
    sum += warps[w];
  f.shares
      .rates[(((at.replica * f.s.examples + at.example) * at.parts + at.part) * 2 + threadIdx.x) *
                 f.s.heads +
             at.head] = sum;
}

/// The block's shares of dd, after those of the rates.
template <int N>
__device__ void ssd_store_skips(const SsdBackward& f, const SsdPlace& at,
                                const float (&dd)[kSsdChannels / 16][2],
                                SsdBackwardChunk<N>& chunk) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int m = 0; m < kSsdChannels / 16; ++m)
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float sum = warp_sum<4>(dd[m][e]);
      if (lane_column() == 0) chunk.row_log[warp][16 * m + 2 * lane_row() + e] = sum;
    }
  __syncthreads();
  if (warp > 0) return;
  float sums[2] = {};
#pragma unroll
  for (int j = 0; j < 2; ++j)
    for (int w = 0; w < kSsdWarps; ++w)
      sums[j] += chunk.row_log[w][threadIdx.x + 32 * j];
  if (f.s.skips == f.s.heads) {
    const float sum = warp_sum(sums[0] + sums[1]);
    if (threadIdx.x == 0)
      f.shares.skips[((at.replica * f.s.examples + at.example) * at.parts + at.part) * f.s.heads +
                     at.head] = sum;
    return;
  }
  for (int j = 0; j < 2; ++j) {
    const int p = static_cast<int>(threadIdx.x) + 32 * j;
    if (p < at.channels)
      f.shares.skips[(at.replica * f.s.examples + at.example) * f.s.skips + at.channel + p] =
          sums[j];
  }
}

}  // namespace recallbench
