#pragma once

// Rows through a norm, forward and backward: the kernels of norm and residual_norm, which differ in
// where a row comes from and where its gradient goes.
//
// A row lies in the registers of `kLanes` threads, so it is read from memory once, and mean and
// variance are sums of trees over lanes. Parameter gradients: a block adds up its rows (a chunk
// whose size follows from one replica's rows), each thread those of its own columns; chunks are
// added by add_norm_parts_cuda.

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/norm/norm_cuda.h"

namespace recallbench {

constexpr int kNormThreads = 512;

/// Item k of a lane holds columns (k · kLanes + lane) · kVec and the kVec - 1 after it.
template <int Lanes, int Items, int Vec>
struct RowTile {
  static constexpr int kLanes = Lanes, kItems = Items, kVec = Vec;
  static constexpr int kCols = Lanes * Items * Vec;      // widest row
  static constexpr int kGroups = kNormThreads / Lanes;   // rows that a block holds at a time
  static constexpr bool kReadsAhead = Items * Vec <= 4;  // the next row fits in registers too

  static __device__ Index column(int item) {
    return (item * kLanes + static_cast<int>(threadIdx.x) % kLanes) * Index{kVec};
  }
  static __device__ int group() { return static_cast<int>(threadIdx.x) / kLanes; }
};

/// Calls body(RowTile) with the tile for rows of `cols` numbers; `quads`: rows can be read in
/// pieces of four.
template <class Body>
void with_row_tile(Index cols, bool quads, const Body& body) {
  if (quads && cols <= 64) return body(RowTile<16, 1, 4>{});
  if (quads && cols <= 128) return body(RowTile<32, 1, 4>{});
  if (quads && cols <= 256) return body(RowTile<32, 2, 4>{});
  if (quads && cols <= 512) return body(RowTile<32, 4, 4>{});
  if (cols <= 128) return body(RowTile<32, 4, 1>{});
  check(cols <= kNormThreads * 16, "norm", "rows of more than 8192 numbers on a GPU");
  body(RowTile<kNormThreads, 16, 1>{});
}

/// The sum over the lanes of a row, for each of them.
template <class Tile>
__device__ float row_sum(float x, float* shared) {
  if constexpr (Tile::kLanes <= 32)
    return warp_sum<Tile::kLanes>(x);
  else
    return block_sum<Tile::kLanes>(x, shared);
}

/// Mean (zero unless `centred`) and 1 / sqrt(var + eps) of a row of `cols` numbers; those of `x`
/// past its end are zero.
struct RowStatistics {
  float mean, rstd;
};
template <class Tile>
__device__ RowStatistics row_statistics(const float (&x)[Tile::kItems][Tile::kVec], Index cols,
                                        bool centred, float eps, float* shared) {
  const float count = static_cast<float>(cols);
  float sum = 0, squares = 0;
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item)
#pragma unroll
    for (int k = 0; k < Tile::kVec; ++k)
      sum += x[item][k];
  const float mean = centred ? row_sum<Tile>(sum, shared) / count : 0.0f;
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item)
#pragma unroll
    for (int k = 0; k < Tile::kVec; ++k)
      if (Tile::column(item) < cols) squares += (x[item][k] - mean) * (x[item][k] - mean);
  return {mean, 1.0f / sqrtf(row_sum<Tile>(squares, shared) / count + eps)};
}

/// Weight and bias of a norm, [R, 1, D] each; an empty bias: the mean counts as zero.
struct NormWeights {
  Batched<float> weight, bias;

  /// x = (x - mean) · rstd ⊙ weight + bias for the kVec columns from `col` on.
  template <int kVec>
  __device__ void apply(Index replica, Index col, const RowStatistics& s, float (&x)[kVec]) const {
    float w[kVec], b[kVec] = {};
    load_numbers(weight.data + replica * weight.replica_stride + col, w);
    if (bias.data != nullptr) load_numbers(bias.data + replica * bias.replica_stride + col, b);
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      x[k] = (x[k] - s.mean) * s.rstd * w[k] + b[k];
  }
};

template <class Tile>
__device__ void save_statistics(const Batched<float>& saved, Index replica, Index row,
                                const RowStatistics& s) {
  if (threadIdx.x % Tile::kLanes != 0) return;
  float* place = saved.data + replica * saved.replica_stride + row * saved.stride;
  place[0] = s.mean, place[1] = s.rstd;
}

/// y = norm(x), the statistics to `saved` [R, rows, 2]. x is what source.load(replica, row, column,
/// x[kVec]) gives. blockIdx.y is the replica.
template <class Tile, class Source>
__global__ void __launch_bounds__(kNormThreads)
    norm_forward_rows(Source source, NormWeights weights, float eps, Batched<float> y,
                      Batched<float> saved) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  const Index replica = blockIdx.y, row = blockIdx.x * Index{Tile::kGroups} + Tile::group();
  const bool inside = row < y.rows;  // all lanes stay for the sums
  float x[kItems][kVec] = {};
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const Index j = Tile::column(item);
    if (inside && j < y.cols) source.load(static_cast<int>(replica), row, j, x[item]);
  }
  const RowStatistics s = row_statistics<Tile>(x, y.cols, weights.bias.data != nullptr, eps, sums);
  if (!inside) return;
  save_statistics<Tile>(saved, replica, row, s);
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const Index j = Tile::column(item);
    if (j >= y.cols) continue;
    weights.apply(replica, j, s, x[item]);
    store_numbers(x[item], y.data + replica * y.replica_stride + row * y.stride + j);
  }
}

/// What the backward of one row reads.
template <class Tile>
struct BackwardRow {
  float x[Tile::kItems][Tile::kVec], dy[Tile::kItems][Tile::kVec];
  float added[Tile::kItems][Tile::kVec];  // to the norm's dx
  RowStatistics statistics;

  template <class Sink>
  __device__ void read(const Sink& sink, const Batched<float>& xs, const Batched<float>& dys,
                       const Batched<float>& saved, Index replica, Index row) {
    const bool inside = row < xs.rows;
    const float* s = saved.data + replica * saved.replica_stride + row * saved.stride;
    statistics = inside ? RowStatistics{s[0], s[1]} : RowStatistics{0, 0};
#pragma unroll
    for (int item = 0; item < Tile::kItems; ++item) {
      const Index j = Tile::column(item);
#pragma unroll
      for (int k = 0; k < Tile::kVec; ++k)
        x[item][k] = statistics.mean, dy[item][k] = 0,
        added[item][k] = 0;  // adds nothing to any sum
      if (!inside || j >= xs.cols) continue;
      load_numbers(xs.data + replica * xs.replica_stride + row * xs.stride + j, x[item]);
      load_numbers(dys.data + replica * dys.replica_stride + row * dys.stride + j, dy[item]);
      sink.load(static_cast<int>(replica), row, j, added[item]);
    }
  }
};

/// The backward of a norm for the rows that a group of lanes takes one after another, and their
/// share of the parameter gradients.
template <class Tile>
struct NormGradient {
  static constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  float w[kItems][kVec] = {}, dw[kItems][kVec] = {}, db[kItems][kVec] = {};

  __device__ NormGradient(const Batched<float>& weight, Index replica) {
#pragma unroll
    for (int item = 0; item < kItems; ++item)
      if (Tile::column(item) < weight.cols)
        load_numbers(weight.data + replica * weight.replica_stride + Tile::column(item), w[item]);
  }

  /// total += rstd (g - [mean g] - x̂ mean(g ⊙ x̂)), with x̂ the normalised row and g = dy ⊙ w; the
  /// bracket only where `centred`. x becomes x̂. Past the row's end x is the mean and dy is zero.
  __device__ void add_row(const RowStatistics& s, Index cols, bool centred, float* shared,
                          float (&x)[kItems][kVec], const float (&dy)[kItems][kVec],
                          float (&total)[kItems][kVec]) {
    const float scale = 1.0f / static_cast<float>(cols);
    float sum_g = 0, sum_gx = 0;
#pragma unroll
    for (int item = 0; item < kItems; ++item)
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const float normalised = (x[item][k] - s.mean) * s.rstd, d = dy[item][k];
        sum_g += d * w[item][k];
        sum_gx += d * w[item][k] * normalised;
        dw[item][k] += d * normalised;
        db[item][k] += d;
        x[item][k] = normalised;
      }
    const float mean_g = centred ? row_sum<Tile>(sum_g, shared) * scale : 0.0f;
    const float mean_gx = row_sum<Tile>(sum_gx, shared) * scale;
#pragma unroll
    for (int item = 0; item < kItems; ++item)
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        total[item][k] += s.rstd * (dy[item][k] * w[item][k] - mean_g - x[item][k] * mean_gx);
  }

  /// Σ dy ⊙ x̂ and Σ dy of the block's rows to part [2, cols], groups in order.
  __device__ void write(float (&columns)[Tile::kGroups][Tile::kCols], Index cols,
                        float* part) const {
    for (int which = 0; which < 2; ++which) {
#pragma unroll
      for (int item = 0; item < kItems; ++item)
#pragma unroll
        for (int k = 0; k < kVec; ++k)
          columns[Tile::group()][Tile::column(item) + k] = which == 0 ? dw[item][k] : db[item][k];
      __syncthreads();
      for (Index j = threadIdx.x; j < cols; j += kNormThreads) {
        float sum = columns[0][j];
        for (int g = 1; g < Tile::kGroups; ++g)
          sum += columns[g][j];
        part[which * cols + j] = sum;
      }
      __syncthreads();
    }
  }
};

/// A block takes the rows of a chunk, kGroups at a time: read(row to fill, first row) for those
/// ahead where registers allow it, then use(row, first row).
template <class Tile, class Row, class Read, class Use>
__device__ void for_rows_of_chunk(Index first, Index last, const Read& read, const Use& use) {
  Row now, next;
  if constexpr (Tile::kReadsAhead) read(next, first);
  for (Index begin = first; begin < last; begin += Tile::kGroups) {
    if constexpr (Tile::kReadsAhead) {
      now = next;
      if (begin + Tile::kGroups < last) read(next, begin + Tile::kGroups);
    } else {
      read(now, begin);
    }
    use(now, begin);
  }
}

/// sink.store(replica, row, column, total[kVec]) gets `added` (what sink.load gave) plus the norm's
/// gradient. parts [R, chunks, 2, D], unless null, gets each chunk's share of dweight and dbias. A
/// block is a chunk of `chunk` rows; blockIdx.y is the replica.
template <class Tile, class Sink>
__global__ void __launch_bounds__(kNormThreads)
    norm_backward_rows(Sink sink, Batched<float> x, Batched<float> weight, Batched<float> saved,
                       Batched<float> dy, bool centred, Index chunk, float* parts) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  __shared__ float columns[Tile::kGroups][Tile::kCols];
  const Index replica = blockIdx.y, cols = x.cols;
  const Index first = blockIdx.x * chunk, last = min(first + chunk, x.rows);
  NormGradient<Tile> gradient(weight, replica);
  using Row = BackwardRow<Tile>;
  const auto read = [&](Row& to, Index begin) {  // groups past the chunk read nothing
    const Index row = begin + Tile::group();
    to.read(sink, x, dy, saved, replica, row < last ? row : x.rows);
  };
  for_rows_of_chunk<Tile, Row>(first, last, read, [&](Row& now, Index begin) {
    gradient.add_row(now.statistics, cols, centred, sums, now.x, now.dy, now.added);
    const Index row = begin + Tile::group();
#pragma unroll
    for (int item = 0; item < Tile::kItems; ++item)
      if (row < last && Tile::column(item) < cols)
        sink.store(static_cast<int>(replica), row, Tile::column(item), now.added[item]);
  });
  if (parts != nullptr)
    gradient.write(columns, cols, parts + (replica * gridDim.x + blockIdx.x) * 2 * cols);
}

template <class... Views>
bool all_in_quads(const Views&... views) {
  return (in_quads(views) && ...);
}

/// norm_forward_rows, enqueued; `quads`: the source can give four numbers at a time.
template <class Source>
void norm_forward_cuda(const CudaCall& call, const Source& source, bool quads,
                       const Batched<float>& weight, const Batched<float>& bias, double eps,
                       const Batched<float>& y, const Batched<float>& saved) {
  with_row_tile(y.cols, quads && all_in_quads(weight, bias, y), [&](auto tile) {
    using Tile = decltype(tile);
    const dim3 blocks(static_cast<unsigned>((y.rows + Tile::kGroups - 1) / Tile::kGroups),
                      static_cast<unsigned>(y.replicas));
    cuda_launch("norm_forward", norm_forward_rows<Tile, Source>,
                {blocks, kNormThreads, 0, call.stream}, source, NormWeights{weight, bias},
                static_cast<float>(eps), y, saved);
  });
}

/// norm_backward_rows, enqueued, and the sums of what the chunks left in `scratch`.
template <class Sink>
void norm_backward_cuda(const CudaCall& call, const Sink& sink, bool quads, const Batched<float>& x,
                        const Batched<float>& weight, const Batched<float>& saved,
                        const Batched<float>& dy, bool centred, const Gradient<float>& dweight,
                        const Gradient<float>& dbias, float* scratch) {
  const bool parameters = dweight.wanted || dbias.wanted;
  const Index chunks = norm_chunks(x.rows);
  with_row_tile(x.cols, quads && all_in_quads(x, weight, dy), [&](auto tile) {
    const dim3 blocks(static_cast<unsigned>(chunks), static_cast<unsigned>(x.replicas));
    cuda_launch("norm_backward", norm_backward_rows<decltype(tile), Sink>,
                {blocks, kNormThreads, 0, call.stream}, sink, x, weight, saved, dy, centred,
                norm_chunk_rows(x.rows), parameters ? scratch : nullptr);
  });
  if (parameters) add_norm_parts_cuda(call, scratch, chunks, dweight, dbias);
}

}  // namespace recallbench
