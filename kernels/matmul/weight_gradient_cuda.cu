// Floor: x and dy read once (four replicas, n = 65536, in = 128, out = 512: 671 MB, 160 us of an
// H200's memory; the products take about 115). cuBLAS reads dy, the long side of a narrow product,
// at half that rate, takes a launch a replica, and leaves dbias to another pass.
//
// A block has a tile of dweight in its registers and walks the rows of its slice, 32 at a time,
// which cp.async brings two stages ahead: 64 KB and more are under way to a multiprocessor. Tiles
// are as large as registers allow, since every tile reads its columns anew and shared memory is
// read by every warp: a warp has up to 64 x 64, so that what it reads takes less time than its
// products. Where a side is narrow warps share rows instead of columns. Slices are many, so that a
// lone replica fills the GPU, and their sums go through scratch.
//
// On compute 9.0 wide sides are multiplied by wgmma (weight_gradient_warpgroups.cuh; in = 256, out
// = 1024: at least 320 us of memory, 280 of products): a step of Mamba-2 of width 256 took 12.4 ms
// for 13.3. Sides of 128 and less gained nothing.
#include <algorithm>

#include "kernels/cuda/compute_90a.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/matmul/weight_gradient_cuda.h"
#include "kernels/matmul/weight_gradient_part.cuh"
#include "kernels/matmul/weight_gradient_plan.cuh"
#include "kernels/matmul/weight_gradient_tile.cuh"
#include "kernels/matmul/weight_gradient_warpgroups.cuh"

namespace recallbench {
namespace weight_gradient {
namespace {

constexpr Index kBlocks = 132;        // wanted of a replica: one for each multiprocessor
constexpr Index kShortestSlice = 64;  // rows
// A slice of kLongSlice · t n / (t + n) rows reads that many times what its t x n part takes.
constexpr Index kLongSlice = 6;

/// f(the tile that serves sides of so many columns).
template <Precision kPrecision, class F>
auto with_tile(Index tall, Index narrow, const F& f) {
  const bool low = tall <= 64;
  if (narrow <= 16 && low) return f(Tile<kPrecision, 64, 16, 2, 1, 2, 4>{});
  if (narrow <= 16) return f(Tile<kPrecision, 128, 16, 2, 1, 2, 3>{});
  if (narrow <= 32 && low) return f(Tile<kPrecision, 64, 32, 2, 1, 2, 4>{});
  if (narrow <= 32) return f(Tile<kPrecision, 128, 32, 2, 1, 2, 3>{});
  if (narrow <= 64 && low) return f(Tile<kPrecision, 64, 64, 1, 2, 2, 4>{});
  if (narrow <= 48) return f(Tile<kPrecision, 128, 48, 2, 1, 2, 3>{});
  if (narrow <= 64) return f(Tile<kPrecision, 128, 64, 2, 2, 2, 2>{});
  if (tall <= 256 && narrow <= 128) return f(Tile<kPrecision, 128, 128, 2, 2, 1, 2>{});
  return f(Tile<kPrecision, 256, 128, 4, 2, 1, 1>{});
}

template <class T>
Index tiles_of(Index tall, Index narrow) {
  return ceil_div(tall, T::kTall) * ceil_div(narrow, T::kNarrow);
}

/// Whether warpgroups serve sides of so many columns: little of their tiles stays empty.
bool suits_warpgroups(Index tall, Index narrow) {
  using T = warpgroups::Tile;
  return cuda_has_wgmma() &&
         5 * tall * narrow >= 4 * tiles_of<T>(tall, narrow) * T::kTall * T::kNarrow;
}

/// Rows a slice, in whole stages, where so many slices are wanted.
Slices slices_of(Index rows, Index wanted) {
  const Index each = std::max(kShortestSlice, ceil_div(rows, std::max<Index>(1, wanted)));
  const Index rounded = ceil_div(each, kRows) * kRows;
  return {rounded, ceil_div(rows, rounded)};
}

/// Blocks for one replica, or twice as many where their parts stay small beside what they read.
Slices slices_of_warps(Index rows, Index tall, Index narrow) {
  return with_tile<Precision::tf32>(tall, narrow, [&](auto tile) {
    const Index t = tile.kTall, n = tile.kNarrow;
    Index wanted = std::max<Index>(1, kBlocks / tiles_of<decltype(tile)>(tall, narrow));
    if (rows / (2 * wanted) >= kLongSlice * t * n / (t + n)) wanted *= 2;
    return slices_of(rows, wanted);
  });
}

Slices slices_of_warpgroups(Index rows, Index tall, Index narrow) {
  return slices_of(rows, kBlocks / tiles_of<warpgroups::Tile>(tall, narrow));
}

/// The block's tile of its part, and its piece of the column sums there.
template <class T>
__device__ void store_part(const WeightGradient& w, const Range& range,
                           float (&product)[T::kSixteens][T::kEights][4], bool sums,
                           const float (&sum)[4], float* shared) {
  const Part part = part_of<T>(w, range);
  add_row_warps<T>(product, shared);
  const Place<T> place;
  if (place.rows == 0)
#pragma unroll
    for (int m = 0; m < T::kSixteens; ++m)
      store_fragments(product[m], place.tall + 16 * m, place.narrow, part);
  if (!sums) return;
  if (w.tall_is_x)
    ColumnSums<T::kThreads, T::kNarrow>::store(sum, shared, part.narrow, part.bias);
  else
    ColumnSums<T::kThreads, T::kTall>::store(sum, shared, part.tall, part.bias);
}

/// blockIdx: tile, slice, replica.
template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kResident) multiply_slices(WeightGradient w) {
  after_previous();
  extern __shared__ float4 stages[];
  float* const shared = reinterpret_cast<float*>(stages);
  Range range = range_of<T>(w);
  const int count = stages_of(range);
  const Place<T> place;
  const bool busy = place.tall < range.tall_columns && place.narrow < range.narrow_columns;
  const bool sums = has_sums(w);
  float product[T::kSixteens][T::kEights][4] = {};
  float sum[4] = {};
  Range next = range;  // what to copy
  const auto fetch = [&](int stage) {
    if (stage < count) {
      float* to = shared + stage % kStages * T::kStage;
      const int rows = static_cast<int>(min(next.rows, Index{kRows}));
      copy_rows<T::kThreads, T::kTall>(w.tall_quads, next.tall, w.tall.stride, rows,
                                       next.tall_columns, to);
      copy_rows<T::kThreads, T::kNarrow>(w.narrow_quads, next.narrow, w.narrow.stride, rows,
                                         next.narrow_columns, to + kRows * T::kTallStride);
      next.tall += kRows * w.tall.stride;
      next.narrow += kRows * w.narrow.stride;
      next.rows -= kRows;
    }
    copies_end_group();
  };
  for (int stage = 0; stage < kStages - 1; ++stage)
    fetch(stage);
  for (int stage = 0; stage < count; ++stage) {
    copies_wait<kStages - 2>();
    __syncthreads();  // the stage has come, and the one before it is used up
    const float* tall = shared + stage % kStages * T::kStage;
    const float* narrow = tall + kRows * T::kTallStride;
    if (sums) {
      if (w.tall_is_x)
        ColumnSums<T::kThreads, T::kNarrow>::add_stage(narrow, sum);
      else
        ColumnSums<T::kThreads, T::kTall>::add_stage(tall, sum);
    }
    const int first = place.rows * T::kSteps * T::kStep;
    tall += first * T::kTallStride + place.tall;
    narrow += first * T::kNarrowStride + place.narrow;
    if (busy) multiply_steps<T, 0, T::kFetchStep>(tall, narrow, product);
    fetch(stage + kStages - 1);
    if (busy) multiply_steps<T, T::kFetchStep, T::kSteps>(tall, narrow, product);
  }
  copies_wait<0>();
  store_part<T>(w, range, product, sums, sum, shared);
}

template <class T>
void launch(const CudaCall& call, void (*kernel)(WeightGradient), int threads, WeightGradient w) {
  w.tall_tiles = ceil_div(w.tall.cols, T::kTall);
  cuda_allow_shared(kernel, T::kBytes, "weight_gradient");
  cuda_prefer_shared(kernel);
  const dim3 blocks(static_cast<unsigned>(tiles_of<T>(w.tall.cols, w.narrow.cols)),
                    static_cast<unsigned>(w.slices.count), static_cast<unsigned>(w.tall.replicas));
  cuda_launch("weight_gradient", kernel,
              {blocks, static_cast<unsigned>(threads), T::kBytes, call.stream}, w);
}

template <Precision kPrecision>
void launch_warps(const CudaCall& call, const WeightGradient& w) {
  with_tile<kPrecision>(w.tall.cols, w.narrow.cols, [&](auto tile) {
    using T = decltype(tile);
    launch<T>(call, multiply_slices<T>, T::kThreads, w);
  });
}

void launch_warpgroups(const CudaCall& call, const WeightGradient& w) {
  launch<warpgroups::Tile>(
      call, w.bias ? warpgroups::multiply_slices<true> : warpgroups::multiply_slices<false>,
      warpgroups::kThreads, w);
}

}  // namespace
}  // namespace weight_gradient

bool weight_gradient_fits(const CudaCall& call, const Batched<float>& x, const Batched<float>& dy) {
  return call.precision != Precision::fp32 &&
         weight_gradient::with_tile<Precision::tf32>(
             std::max(x.cols, dy.cols), std::min(x.cols, dy.cols),
             [](auto tile) { return tile.kBytes <= cuda_shared_limit(); });
}

Index weight_gradient_scratch(Index replicas, Index rows, Index out, Index in) {
  const Index tall = std::max(out, in), narrow = std::min(out, in);
  Index slices = weight_gradient::slices_of_warps(rows, tall, narrow).count;
  if (weight_gradient::suits_warpgroups(tall, narrow))
    slices = std::max(slices, weight_gradient::slices_of_warpgroups(rows, tall, narrow).count);
  return replicas * slices * out * (in + 1);
}

void weight_gradient_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& dy,
                          const Gradient<float>& dweight, const Gradient<float>& dbias,
                          float* scratch) {
  const bool tall_is_x = x.cols > dy.cols, bias = dbias.wanted;
  const Batched<float> tall = tall_is_x ? x : dy, narrow = tall_is_x ? dy : x;
  weight_gradient::WeightGradient w{};
  w.tall = tall, w.narrow = narrow, w.tall_is_x = tall_is_x, w.bias = bias;
  w.tall_quads = in_quads(tall), w.narrow_quads = in_quads(narrow);
  w.part_pairs = x.cols % 2 == 0 && (!bias || dy.cols % 2 == 0) &&
                 reinterpret_cast<std::uintptr_t>(scratch) % 8 == 0;
  w.parts = scratch;
  const bool by_warpgroups = call.precision == Precision::tf32 && w.tall_quads && w.narrow_quads &&
                             weight_gradient::suits_warpgroups(tall.cols, narrow.cols);
  w.slices = by_warpgroups ? weight_gradient::slices_of_warpgroups(x.rows, tall.cols, narrow.cols)
                           : weight_gradient::slices_of_warps(x.rows, tall.cols, narrow.cols);
  if (by_warpgroups)
    weight_gradient::launch_warpgroups(call, w);
  else if (call.precision == Precision::tf32)
    weight_gradient::launch_warps<Precision::tf32>(call, w);
  else
    weight_gradient::launch_warps<Precision::bf16>(call, w);
  sum_partials_cuda(
      call, x.replicas,
      {scratch, w.slices.count, dy.cols * x.cols, bias ? dy.cols : 0, dweight, dbias});
}

}  // namespace recallbench
