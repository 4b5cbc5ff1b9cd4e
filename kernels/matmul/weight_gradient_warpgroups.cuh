#pragma once

// Weight gradients by wgmma in tf32 (sm_90a). Stages of 32 rows of both sides come into a ring in
// shared memory. What is tall goes from there through registers to the tensor cores; what is narrow
// they read from shared memory, tf32 along the inner sum alone: so it is turned there, rounded,
// while they are at the stage before.

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/shared_address.cuh"
#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/cuda/wgmma.cuh"
#include "kernels/matmul/weight_gradient_part.cuh"

namespace recallbench::weight_gradient::warpgroups {

constexpr int kWarps = 8, kThreads = 32 * kWarps;

/// 128 tall columns, 16 a warp, and 256 narrow ones, of which a warp has all. In shared memory a
/// row of the tall side is padded to 8 numbers past a multiple of 32, four rows of the narrow side
/// are: then what a quarter of a warp reads at a time lies in different banks.
struct Tile {
  static constexpr int kWarpTall = 16, kTall = kWarps * kWarpTall, kNarrow = 256;
  static constexpr int kSteps = kRows / 8;  // products of a stage
  using Product = float[kNarrow / 8][4];
  using Fragments = std::uint32_t[kSteps][4];

  static constexpr int kTallStride = kTall + 8, kTallNumbers = kRows * kTallStride;
  static constexpr int kStageNumbers = kTallNumbers + kRows * kNarrow + 8 * (kRows / 4);
  static constexpr int kStageBytes = 4 * kStageNumbers;
  static constexpr int kTurnedRowBytes = 4 * kRows;  // a column's numbers of a stage
  static constexpr int kTurnedBytes = kNarrow * kTurnedRowBytes;
  static constexpr int kStages = 2, kTurned = 3;  // that have room as they come, and turned

  // In shared memory, in bytes from its beginning; what is turned comes first.
  static constexpr int kFirstStage = kTurned * kTurnedBytes;
  static constexpr int kBarriers = kFirstStage + kStages * kStageBytes;
  static constexpr int kBytes = kBarriers + kStages * static_cast<int>(sizeof(Barrier));

  /// Where a row of the narrow side begins in a stage.
  __device__ static int narrow_row(int row) { return kTallNumbers + row * kNarrow + 8 * (row / 4); }
};

/// Brings stages, each warp four rows, a lane one of them: each lane arrives at the stage's barrier
/// for its row. Rows past the last are zeros.
class Rows {
 public:
  __device__ Rows(const WeightGradient& w, const Range& range, float* stages,
                  std::uint32_t barriers)
      : row_(static_cast<int>(threadIdx.x) / 32 * kWarpRows + static_cast<int>(threadIdx.x) % 32),
        tall_(range.tall + row_ * w.tall.stride),
        narrow_(range.narrow + row_ * w.narrow.stride),
        tall_step_(kRows * w.tall.stride),
        narrow_step_(kRows * w.narrow.stride),
        tall_columns_(range.tall_columns),
        narrow_columns_(range.narrow_columns),
        left_(static_cast<int>(range.rows)),
        stages_(stages),
        barriers_(barriers) {}

  /// The next stage of those that are left, to the place of the one that was used up longest ago.
  __device__ void begin_next() {
    if (left_ <= 0) return;
    if (static_cast<int>(threadIdx.x) % 32 < kWarpRows) bring_row();
    tall_ += tall_step_;
    narrow_ += narrow_step_;
    left_ -= kRows;
    ring_.next();
  }

 private:
  static constexpr int kWarpRows = kRows / kWarps;

  /// This lane's row of the stage, or zeros, and its arrival.
  __device__ void bring_row() const {
    const std::uint32_t full = barriers_ + ring_.slot * sizeof(Barrier);
    float* const stage = stages_ + ring_.slot * Tile::kStageNumbers;
    float* const tall = stage + row_ * Tile::kTallStride;
    float* const narrow = stage + Tile::narrow_row(row_);
    if (row_ < left_) {
      barrier_expect(full, 4 * (tall_columns_ + narrow_columns_));
      copy_bulk(shared_address(tall), tall_, 4 * tall_columns_, full);
      copy_bulk(shared_address(narrow), narrow_, 4 * narrow_columns_, full);
    } else {
      for (int i = 0; i < tall_columns_; ++i)
        tall[i] = 0;
      for (int i = 0; i < narrow_columns_; ++i)
        narrow[i] = 0;
      barrier_arrive(full);
    }
  }

  int row_;
  const float *tall_, *narrow_;
  Index tall_step_, narrow_step_;
  int tall_columns_, narrow_columns_, left_;
  float* stages_;
  std::uint32_t barriers_;
  Ring<Tile::kStages> ring_;
};

/// Σ over rows of what a thread reads: of tall columns 2g and 2g + 1 of its warp's, or of the four
/// narrow columns of its squares.
struct Sums {
  float tall[2] = {}, narrow[4] = {};
};

/// What a lane has of its warp's tall columns of a stage: 2g and 2g + 1, which one read brings side
/// by side; of step k's inner sum rows 8k + t and 8k + 4 + t. g = lane / 4, t = lane % 4.
__device__ inline void load_tall(const float* stage, bool sum, Sums& sums, Tile::Fragments& a) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
  const float* from = stage + t * Tile::kTallStride + warp * Tile::kWarpTall + 2 * g;
#pragma unroll
  for (int i = 0; i < 2 * Tile::kSteps; ++i) {
    float two[2];
    load_numbers(from + 4 * i * Tile::kTallStride, two);
    a[i / 2][i % 2 * 2] = tf32_bits(two[0]);
    a[i / 2][i % 2 * 2 + 1] = tf32_bits(two[1]);
    if (sum) sums.tall[0] += two[0], sums.tall[1] += two[1];
  }
}

/// A thread's squares of 4 x 4 numbers of the narrow side, turned: of column n, rows 4i ... 4i + 3
/// lie side by side in piece i of row n, as SwizzledRows has them.
__device__ inline void turn_narrow(const float* stage, bool sum, Sums& sums, char* turned) {
  const int quad = static_cast<int>(threadIdx.x) / 4;
#pragma unroll
  for (int square = 0; square < kRows / 16; ++square) {
    const int piece = 4 * square + static_cast<int>(threadIdx.x) % 4;
    float x[4][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      load_numbers(stage + Tile::narrow_row(4 * piece + r) + 4 * quad, x[r]);
      if (sum)
#pragma unroll
        for (int c = 0; c < 4; ++c)
          sums.narrow[c] += x[r][c];
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int n = 4 * quad + c;
      *reinterpret_cast<uint4*>(turned + n * Tile::kTurnedRowBytes + (piece ^ (n % 8)) * 16) =
          make_uint4(tf32_bits(x[0][c]), tf32_bits(x[1][c]), tf32_bits(x[2][c]),
                     tf32_bits(x[3][c]));
    }
  }
}
static_assert(Tile::kNarrow == kThreads);

/// A stage's products, begun.
__device__ inline void begin_products(const Tile::Fragments& a, std::uint32_t turned,
                                      Tile::Product& product) {
  const SwizzledRows b(turned);
  products_fence();
#pragma unroll
  for (int k = 0; k < Tile::kSteps; ++k)
    wgmma_tf32(product, a[k], b.from(k * 32));
  products_end_group();
}

/// The block's column sums of dy; `shared` is written over.
__device__ inline void store_sums(const WeightGradient& w, const Part& part, const Sums& sums,
                                  float* shared) {
  const int thread = static_cast<int>(threadIdx.x);
  if (!w.tall_is_x) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const float sum = warp_sum<4>(sums.tall[c]);
      const int column = thread / 32 * Tile::kWarpTall + thread % 32 / 4 * 2 + c;
      if (thread % 4 == 0 && column < part.tall) part.bias[column] = sum;
    }
    return;
  }
  __syncthreads();
  store_numbers(sums.narrow, shared + thread % 4 * Tile::kNarrow + thread / 4 * 4);
  __syncthreads();
  if (thread >= part.narrow) return;
  float total = shared[thread];
#pragma unroll
  for (int k = 1; k < 4; ++k)
    total += shared[k * Tile::kNarrow + thread];
  part.bias[thread] = total;
}

/// blockIdx: tile, slice, replica. kBias: w.bias.
template <bool kBias>
__global__ void __launch_bounds__(kThreads, 1)
    multiply_slices(const __grid_constant__ WeightGradient w) {
  after_previous();
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using T = Tile;
  extern __shared__ __align__(1024) char shared_bytes[];
  float* const stages = reinterpret_cast<float*>(shared_bytes + T::kFirstStage);
  const std::uint32_t shared = shared_address(shared_bytes), barriers = shared + T::kBarriers;
  if (threadIdx.x == 0) {
    for (int i = 0; i < T::kStages; ++i)
      barrier_init(barriers + i * sizeof(Barrier), kRows);
    barriers_ready();
  }
  __syncthreads();
  const Range range = range_of<T>(w);
  Rows rows(w, range, stages, barriers);
  for (int i = 0; i < T::kStages; ++i)
    rows.begin_next();

  const bool sum = kBias && has_sums(w);
  const bool sum_tall = sum && !w.tall_is_x, sum_narrow = sum && w.tall_is_x;
  Ring<T::kStages> come;
  Ring<T::kTurned> turned, multiplied;
  Sums sums;
  T::Product product = {};
  T::Fragments even = {}, odd = {};
  const auto prepare = [&](T::Fragments& a) {
    const float* stage = stages + come.slot * T::kStageNumbers;
    barrier_wait(barriers + come.slot * sizeof(Barrier), come.parity);
    load_tall(stage, sum_tall, sums, a);
    turn_narrow(stage, sum_narrow, sums, shared_bytes + turned.slot * T::kTurnedBytes);
    products_see_shared();
    __syncthreads();  // the stage is turned and used up
    come.next();
    turned.next();
  };
  // Begins the products of one stage and prepares the next meanwhile. It is turned to where the one
  // was that came three before: its products had ended in both warpgroups when they met last.
  const auto multiply = [&](T::Fragments& now, bool more, T::Fragments& next) {
    begin_products(now, shared + multiplied.slot * T::kTurnedBytes, product);
    multiplied.next();
    rows.begin_next();
    if (!more) return;
    products_wait<1>();
    fragments_used(next);
    prepare(next);
  };
  const int count = stages_of(range);
  prepare(even);
  for (int stage = 0; stage < count; stage += 2) {
    multiply(even, stage + 1 < count, odd);
    if (stage + 1 < count) multiply(odd, stage + 2 < count, even);
  }
  products_wait<0>();
  products_arrived(product);

  const Part part = part_of<T>(w, range);
  store_fragments(product, static_cast<int>(threadIdx.x) / 32 * T::kWarpTall, 0, part);
  if (sum) store_sums(w, part, sums, reinterpret_cast<float*>(shared_bytes));
#endif
}

}  // namespace recallbench::weight_gradient::warpgroups
