#pragma once

// Rows through a norm, forward and backward: the kernels of norm and residual_norm, which differ in
// where a row comes from and where its gradient goes.
//
// A row lies in the registers of `kLanes` threads, so it is read from memory once, and mean and
// variance are sums of trees over lanes. Parameter gradients: a block adds up its rows (a chunk
// whose size follows from one replica's rows), each thread those of its own columns; chunks are
// added by add_norm_parts_cuda.

#include "kernels/cuda/elements.cuh"
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

/// y = (x - mean) · rstd ⊙ weight + bias, mean and rstd to `saved` [R, rows, 2]; without bias the
/// mean counts as zero. x is what source.load(replica, row, column, x[kVec]) gives. blockIdx.y is
/// the replica.
template <class Tile, class Source>
__global__ void __launch_bounds__(kNormThreads)
    norm_forward_rows(Source source, Batched<float> weight, Batched<float> bias, float eps,
                      Batched<float> y, Batched<float> saved) {
  __shared__ float sums[kNormThreads / 32];
  constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  const Index replica = blockIdx.y, row = blockIdx.x * Index{Tile::kGroups} + Tile::group();
  const bool inside = row < y.rows;  // all lanes stay for the sums
  const float count = static_cast<float>(y.cols);
  float x[kItems][kVec] = {};
  float sum = 0;
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const Index j = Tile::column(item);
    if (inside && j < y.cols) source.load(static_cast<int>(replica), row, j, x[item]);
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      sum += x[item][k];
  }
  const bool centred = bias.data != nullptr;
  const float mean = centred ? row_sum<Tile>(sum, sums) / count : 0.0f;
  float squares = 0;
#pragma unroll
  for (int item = 0; item < kItems; ++item)
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      if (Tile::column(item) < y.cols) squares += (x[item][k] - mean) * (x[item][k] - mean);
  const float rstd = 1.0f / sqrtf(row_sum<Tile>(squares, sums) / count + eps);
  if (!inside) return;
  if (threadIdx.x % Tile::kLanes == 0) {
    float* place = saved.data + replica * saved.replica_stride + row * saved.stride;
    place[0] = mean, place[1] = rstd;
  }
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const Index j = Tile::column(item);
    if (j >= y.cols) continue;
    float w[kVec], b[kVec] = {};
    load_numbers(weight.data + replica * weight.replica_stride + j, w);
    if (centred) load_numbers(bias.data + replica * bias.replica_stride + j, b);
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      x[item][k] = (x[item][k] - mean) * rstd * w[k] + b[k];
    store_numbers(x[item], y.data + replica * y.replica_stride + row * y.stride + j);
  }
}

/// What the backward of one row reads.
template <class Tile>
struct BackwardRow {
  float x[Tile::kItems][Tile::kVec], dy[Tile::kItems][Tile::kVec];
  float added[Tile::kItems][Tile::kVec];  // to the norm's dx
  float mean, rstd;

  template <class Sink>
  __device__ void read(const Sink& sink, const Batched<float>& xs, const Batched<float>& dys,
                       const Batched<float>& saved, Index replica, Index row) {
    const bool inside = row < xs.rows;
    const float* s = saved.data + replica * saved.replica_stride + row * saved.stride;
    mean = inside ? s[0] : 0.0f;
    rstd = inside ? s[1] : 0.0f;
#pragma unroll
    for (int item = 0; item < Tile::kItems; ++item) {
      const Index j = Tile::column(item);
#pragma unroll
      for (int k = 0; k < Tile::kVec; ++k)
        x[item][k] = mean, dy[item][k] = 0, added[item][k] = 0;  // adds nothing to any sum
      if (!inside || j >= xs.cols) continue;
      load_numbers(xs.data + replica * xs.replica_stride + row * xs.stride + j, x[item]);
      load_numbers(dys.data + replica * dys.replica_stride + row * dys.stride + j, dy[item]);
      sink.load(static_cast<int>(replica), row, j, added[item]);
    }
  }
};

/// With x̂ the normalised row and g = dy ⊙ w: sink.store(replica, row, column, total[kVec]) gets
/// `added` (what sink.load gave) plus rstd (g - [mean g] - x̂ mean(g ⊙ x̂)), the bracket only where
/// `centred`. parts [R, chunks, 2, D], unless null, gets each chunk's Σ dy ⊙ x̂ and Σ dy. A block is
/// a chunk of `chunk` rows; blockIdx.y is the replica.
template <class Tile, class Sink>
__global__ void __launch_bounds__(kNormThreads)
    norm_backward_rows(Sink sink, Batched<float> x, Batched<float> weight, Batched<float> saved,
                       Batched<float> dy, bool centred, Index chunk, float* parts) {
  __shared__ float sums[kNormThreads / 32];
  __shared__ float columns[Tile::kGroups][Tile::kCols];
  constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  const Index replica = blockIdx.y, cols = x.cols;
  const Index first = blockIdx.x * chunk, last = min(first + chunk, x.rows);
  const float scale = 1.0f / static_cast<float>(cols);
  float w[kItems][kVec] = {}, dw[kItems][kVec] = {}, db[kItems][kVec] = {};
#pragma unroll
  for (int item = 0; item < kItems; ++item)
    if (Tile::column(item) < cols)
      load_numbers(weight.data + replica * weight.replica_stride + Tile::column(item), w[item]);
  BackwardRow<Tile> now, next;
  const auto read = [&](BackwardRow<Tile>& to, Index begin) {  // groups past the chunk read nothing
    const Index row = begin + Tile::group();
    to.read(sink, x, dy, saved, replica, row < last ? row : x.rows);
  };
  if constexpr (Tile::kReadsAhead) read(next, first);
  for (Index begin = first; begin < last; begin += Tile::kGroups) {
    if constexpr (Tile::kReadsAhead) {
      now = next;
      if (begin + Tile::kGroups < last) read(next, begin + Tile::kGroups);
    } else {
      read(now, begin);
    }
    float sum_g = 0, sum_gx = 0;
#pragma unroll
    for (int item = 0; item < kItems; ++item) {
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const float normalised = (now.x[item][k] - now.mean) * now.rstd, d = now.dy[item][k];
        sum_g += d * w[item][k];
        sum_gx += d * w[item][k] * normalised;
        dw[item][k] += d * normalised;
        db[item][k] += d;
        now.x[item][k] = normalised;
      }
    }
    const float mean_g = centred ? row_sum<Tile>(sum_g, sums) * scale : 0.0f;
    const float mean_gx = row_sum<Tile>(sum_gx, sums) * scale;
    const Index row = begin + Tile::group();
#pragma unroll
    for (int item = 0; item < kItems; ++item) {
      if (row >= last || Tile::column(item) >= cols) continue;
      float total[kVec];
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        total[k] = now.added[item][k] +
                   now.rstd * (now.dy[item][k] * w[item][k] - mean_g - now.x[item][k] * mean_gx);
      sink.store(static_cast<int>(replica), row, Tile::column(item), total);
    }
  }
  if (parts == nullptr) return;
  float* part = parts + (replica * gridDim.x + blockIdx.x) * 2 * cols;
  for (int which = 0; which < 2; ++which) {  // dweight, dbias: groups in order
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
    norm_forward_rows<Tile><<<blocks, kNormThreads, 0, call.stream>>>(
        source, weight, bias, static_cast<float>(eps), y, saved);
  });
  cuda_check_launch("norm_forward");
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
    norm_backward_rows<decltype(tile)><<<blocks, kNormThreads, 0, call.stream>>>(
        sink, x, weight, saved, dy, centred, norm_chunk_rows(x.rows),
        parameters ? scratch : nullptr);
  });
  cuda_check_launch("norm_backward");
  if (parameters) add_norm_parts_cuda(call, scratch, chunks, dweight, dbias);
}

}  // namespace recallbench
