#pragma once

// A tile of tallᵀ · narrow, summed over rows, in the registers of a block: how rows come to shared
// memory and from there to tensor cores. `tall` and `narrow` are dy and x, the one with more
// columns being tall.
//
// The inner sum may take rows in any order, and fragments may be any columns, if only both sides
// and the store agree. With g = lane / 4 and t = lane % 4 a lane has rows t, t + 4, ...: of 16 tall
// columns 2g and 2g + 1, which one read brings side by side, as registers of a fragment must be; of
// 8 narrow ones g. Rows are padded to 8 or 24 numbers past a multiple of 32: such reads meet
// different banks.

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/matmul/weight_gradient_plan.cuh"

namespace recallbench::weight_gradient {

constexpr int kStages = 3;  // that have room in shared memory

/// kTallColumns x kNarrowColumns for a block of kTallWarps x kNarrowWarps warps, kRowWarps times:
/// these share the rows of a stage. kResident blocks have room in a multiprocessor's registers.
template <Precision kPrecision, int kTallColumns, int kNarrowColumns, int kTallWarpCount,
          int kNarrowWarpCount, int kRowWarpCount, int kResidentBlocks>
struct Tile {
  static constexpr bool kBf16 = kPrecision == Precision::bf16;
  static constexpr int kTall = kTallColumns, kNarrow = kNarrowColumns;
  static constexpr int kTallWarps = kTallWarpCount, kNarrowWarps = kNarrowWarpCount;
  static constexpr int kRowWarps = kRowWarpCount, kResident = kResidentBlocks;
  static constexpr int kThreads = 32 * kTallWarps * kNarrowWarps * kRowWarps;
  static constexpr int kWarpTall = kTall / kTallWarps, kWarpNarrow = kNarrow / kNarrowWarps;
  static constexpr int kSixteens = kWarpTall / 16, kEights = kWarpNarrow / 8;  // fragments
  static constexpr int kTallStride = kTall + 8, kNarrowStride = kNarrow + 8;
  static constexpr int kStage = kRows * (kTallStride + kNarrowStride);  // numbers
  static constexpr std::size_t kBytes = kStages * kStage * sizeof(float);
  static constexpr int kStep = kBf16 ? 16 : 8;  // rows of a product
  static constexpr int kReads = kStep / 4;      // of them that a lane has
  static constexpr int kSteps = kRows / kRowWarps / kStep;
  /// Products before which the next stage's copies begin: a lone warp of a row would have its
  /// tensor cores wait while it numbers them.
  static constexpr int kFetchStep = kRowWarps == 1 ? 1 : 0;
  static constexpr int kNumbers = kSixteens * kEights * 4;  // of the tile that a lane has
  static_assert(kTall % (16 * kTallWarps) == 0 && kNarrow % (8 * kNarrowWarps) == 0);
  static_assert(kSteps * kStep * kRowWarps == kRows && kRowWarps <= 2 && kFetchStep < kSteps);
  static_assert(kTallStride % 16 == 8 && kNarrowStride % 16 == 8);
};

/// Where a thread's warp has its part of a tile.
template <class T>
struct Place {
  int tall, narrow, rows;  // first columns; which of the warps that share rows

  __device__ Place() {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    tall = warp % T::kTallWarps * T::kWarpTall;
    narrow = warp / T::kTallWarps % T::kNarrowWarps * T::kWarpNarrow;
    rows = warp / (T::kTallWarps * T::kNarrowWarps);
  }
};

constexpr int power_of_two_from(int n) {
  int power = 1;
  while (power < n)
    power *= 2;
  return power;
}

/// Begins the copies of kRows rows of kColumns columns, kVec at a time; `from` is the first of
/// them. Of these `rows` and `columns` are there, all of them if kWhole; zeros are put in place of
/// the others.
template <int kThreads, int kColumns, int kVec, bool kWhole>
__device__ void copy_rows(const float* from, Index stride, int rows, int columns, float* to) {
  constexpr int kLanes = power_of_two_from(kColumns / kVec);  // threads of a row
  constexpr int kAtOnce = kThreads / kLanes;                  // rows
  static_assert(kAtOnce > 0 && kRows % kAtOnce == 0);
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / kLanes, column = thread % kLanes * kVec;
  if (column >= kColumns) return;
  const float* at = from + row * stride + column;
  to += row * (kColumns + 8) + column;
#pragma unroll
  for (int r = 0; r < kRows; r += kAtOnce) {
    float* const place = to + r * (kColumns + 8);
    if constexpr (kWhole) {
      copy_async<kVec * 4>(place, at);
    } else {
      const bool inside = row + r < rows && column < columns;
      copy_async_or_zero<kVec * 4>(place, inside ? at : from, inside);
    }
    at += kAtOnce * stride;
  }
}

template <int kThreads, int kColumns>
__device__ void copy_rows(bool quads, const float* from, Index stride, int rows, int columns,
                          float* to) {
  if (!quads)
    copy_rows<kThreads, kColumns, 1, false>(from, stride, rows, columns, to);
  else if (rows < kRows || columns < kColumns)
    copy_rows<kThreads, kColumns, 4, false>(from, stride, rows, columns, to);
  else
    copy_rows<kThreads, kColumns, 4, true>(from, stride, rows, columns, to);
}

/// What a lane has of kStep rows.
template <class T>
struct Step {
  float tall[T::kSixteens][T::kReads][2];
  float narrow[T::kEights][T::kReads];

  /// From the step's first row, at the warp's first columns.
  __device__ void load(const float* tall_rows, const float* narrow_rows) {
    const int g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
    const float* from = tall_rows + t * T::kTallStride + 2 * g;
#pragma unroll
    for (int m = 0; m < T::kSixteens; ++m)
#pragma unroll
      for (int i = 0; i < T::kReads; ++i)
        load_numbers(from + i * 4 * T::kTallStride + m * 16, tall[m][i]);
    from = narrow_rows + t * T::kNarrowStride + g;
#pragma unroll
    for (int e = 0; e < T::kEights; ++e)
#pragma unroll
      for (int i = 0; i < T::kReads; ++i)
        narrow[e][i] = from[i * 4 * T::kNarrowStride + e * 8];
  }

  __device__ void multiply(float (&product)[T::kSixteens][T::kEights][4]) const {
    std::uint32_t b[T::kEights][2];
#pragma unroll
    for (int e = 0; e < T::kEights; ++e)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        if constexpr (T::kBf16)
          b[e][i] = bf16_bits(narrow[e][2 * i], narrow[e][2 * i + 1]);
        else
          b[e][i] = tf32_bits(narrow[e][i]);
#pragma unroll
    for (int m = 0; m < T::kSixteens; ++m) {
      std::uint32_t a[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if constexpr (T::kBf16)
          a[i] = bf16_bits(tall[m][i / 2 * 2][i % 2], tall[m][i / 2 * 2 + 1][i % 2]);
        else
          a[i] = tf32_bits(tall[m][i / 2][i % 2]);
#pragma unroll
      for (int e = 0; e < T::kEights; ++e)
        if constexpr (T::kBf16)
          mma_bf16(product[m][e], a, b[e]);
        else
          mma_tf32(product[m][e], a, b[e]);
    }
  }
};

/// Steps kFirst ... kLast - 1 of the warp's rows of a stage.
template <class T, int kFirst, int kLast>
__device__ void multiply_steps(const float* tall, const float* narrow,
                               float (&product)[T::kSixteens][T::kEights][4]) {
#pragma unroll
  for (int k = kFirst; k < kLast; ++k) {
    Step<T> step;
    step.load(tall + k * T::kStep * T::kTallStride, narrow + k * T::kStep * T::kNarrowStride);
    step.multiply(product);
  }
}

/// The products of warps that share rows are added up in those of the first. `shared` holds a tile.
template <class T>
__device__ void add_row_warps(float (&product)[T::kSixteens][T::kEights][4], float* shared) {
  if constexpr (T::kRowWarps == 2) {
    const int thread = static_cast<int>(threadIdx.x) % (T::kThreads / 2);
    const bool first = static_cast<int>(threadIdx.x) == thread;
    const auto each = [&](const auto& f) {
#pragma unroll
      for (int i = 0; i < T::kNumbers / 4; ++i)
        f(product[i / T::kEights][i % T::kEights], shared + (i * (T::kThreads / 2) + thread) * 4);
    };
    __syncthreads();
    if (!first) each([](float(&mine)[4], float* place) { store_numbers(mine, place); });
    __syncthreads();
    if (first)
      each([](float(&mine)[4], const float* place) {
        float other[4];
        load_numbers(place, other);
#pragma unroll
        for (int k = 0; k < 4; ++k)
          mine[k] += other[k];
      });
  }
}

/// Σ of a tile's columns of dy over the rows of a slice, in float32: a thread has four columns and
/// every kGroups-th row.
template <int kThreads, int kColumns>
struct ColumnSums {
  static constexpr int kQuads = kColumns / 4;
  static constexpr int kGroups = kThreads / kQuads < kRows ? kThreads / kQuads : kRows;

  __device__ static void add_stage(const float* dy, float (&sum)[4]) {
    const int quad = static_cast<int>(threadIdx.x) % kQuads;
    const int group = static_cast<int>(threadIdx.x) / kQuads;
    if (group >= kGroups) return;
#pragma unroll
    for (int r = 0; r < kRows; r += kGroups) {
      if (kRows % kGroups != 0 && r + group >= kRows) break;
      float four[4];
      load_numbers(dy + (r + group) * (kColumns + 8) + 4 * quad, four);
#pragma unroll
      for (int k = 0; k < 4; ++k)
        sum[k] += four[k];
    }
  }

  /// Groups in order; `shared` holds kGroups rows of the tile.
  __device__ static void store(const float (&sum)[4], float* shared, int columns, float* to) {
    const int thread = static_cast<int>(threadIdx.x);
    __syncthreads();
    if (thread / kQuads < kGroups) store_numbers(sum, shared + thread * 4);
    __syncthreads();
    if (thread >= kColumns || thread >= columns) return;
    float total = shared[thread];
    for (int k = 1; k < kGroups; ++k)
      total += shared[k * kColumns + thread];
    to[thread] = total;
  }
};

}  // namespace recallbench::weight_gradient
