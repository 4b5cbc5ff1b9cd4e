// Floor: forward reads r and h and writes inner, stream and norm, backward reads inner and two
// gradients and writes two (B = 256, L = 256, D = 128: 168 MB each, 40 us); two residual_norms
// would move 268 and 336 MB. A row stays in registers through both norms; backward makes the
// stream again from inner, with the bits of forward, rather than read it.
#include "kernels/cuda/launch.cuh"
#include "kernels/double_residual_norm/double_residual_norm_cuda.h"
#include "kernels/dropout/dropout_on_device.cuh"
#include "kernels/norm/norm_rows.cuh"

namespace recallbench {
namespace {

/// x += branch ⊙ scale of the mask.
template <int kVec>
__device__ void add_branch(const DropoutOnDevice& mask, int replica, Index element,
                           const float (&branch)[kVec], float (&x)[kVec]) {
  float scales[kVec];
  dropout_scales(mask, replica, element, scales);
#pragma unroll
  for (int k = 0; k < kVec; ++k)
    x[k] += branch[k] * scales[k];
}

/// What both walks read of the operation.
struct Norms {
  DropoutOnDevice mask[2];
  NormWeights weights[2];
  Batched<float> saved[2];
};

/// blockIdx.y is the replica; a group of lanes takes a row.
template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    double_forward_rows(Norms norms, float eps, Batched<float> r, Batched<float> h,
                        Batched<float> inner, Batched<float> stream, Batched<float> normalised) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  const int replica = static_cast<int>(blockIdx.y);
  const Index row = blockIdx.x * Index{Tile::kGroups} + Tile::group(), cols = r.cols;
  const bool inside = row < r.rows;  // all lanes stay for the sums
  float x[kItems][kVec] = {};
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const Index j = Tile::column(item);
    if (!inside || j >= cols) continue;
    float branch[kVec];
    load_numbers(place_of(r, replica, row, j), x[item]);
    load_numbers(place_of(h, replica, row, j), branch);
    add_branch(norms.mask[0], replica, row * cols + j, branch, x[item]);
    store_numbers(x[item], place_of(inner, replica, row, j));
  }
  const RowStatistics first = row_statistics<Tile>(x, cols, true, eps, sums);
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const Index j = Tile::column(item);
    if (!inside || j >= cols) continue;
    float branch[kVec];
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      branch[k] = x[item][k];
    norms.weights[0].apply(replica, j, first, branch);
    add_branch(norms.mask[1], replica, row * cols + j, branch, x[item]);
    store_numbers(x[item], place_of(stream, replica, row, j));
  }
  const RowStatistics second = row_statistics<Tile>(x, cols, true, eps, sums);
  if (!inside) return;
  save_statistics<Tile>(norms.saved[0], replica, row, first);
  save_statistics<Tile>(norms.saved[1], replica, row, second);
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const Index j = Tile::column(item);
    if (j >= cols) continue;
    norms.weights[1].apply(replica, j, second, x[item]);
    store_numbers(x[item], place_of(normalised, replica, row, j));
  }
}

/// What the backward of one row reads.
template <class Tile>
struct Row {
  float inner[Tile::kItems][Tile::kVec], dnormalised[Tile::kItems][Tile::kVec];
  float total[Tile::kItems][Tile::kVec];  // dstream
  RowStatistics statistics[2];

  __device__ void read(const Norms& norms, const Batched<float>& from,
                       const Batched<float>& dstream, const Batched<float>& dy, int replica,
                       Index row) {
    const bool inside = row < from.rows;
    for (int which = 0; which < 2; ++which) {
      const float* s = place_of(norms.saved[which], replica, row, 0);
      statistics[which] = inside ? RowStatistics{s[0], s[1]} : RowStatistics{0, 0};
    }
#pragma unroll
    for (int item = 0; item < Tile::kItems; ++item) {
      const Index j = Tile::column(item);
#pragma unroll
      for (int k = 0; k < Tile::kVec; ++k)
        inner[item][k] = statistics[0].mean, dnormalised[item][k] = 0, total[item][k] = 0;
      if (!inside || j >= from.cols) continue;
      load_numbers(place_of(from, replica, row, j), inner[item]);
      load_numbers(place_of(dy, replica, row, j), dnormalised[item]);
      load_numbers(place_of(dstream, replica, row, j), total[item]);
    }
  }
};

/// parts [2, R, chunks, 2, D], unless null, gets each chunk's share of both norms' parameter
/// gradients. A block is a chunk of `chunk` rows; blockIdx.y is the replica.
template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    double_backward_rows(Norms norms, Batched<float> inner, Batched<float> dstream,
                         Batched<float> dnormalised, Gradient<float> dr, Gradient<float> dh,
                         Index chunk, float* parts) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  __shared__ float columns[Tile::kGroups][Tile::kCols];
  constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  const int replica = static_cast<int>(blockIdx.y);
  const Index cols = inner.cols;
  const Index first = blockIdx.x * chunk, last = min(first + chunk, inner.rows);
  NormGradient<Tile> outer_norm(norms.weights[1].weight, replica);
  NormGradient<Tile> inner_norm(norms.weights[0].weight, replica);
  const auto read = [&](Row<Tile>& to, Index begin) {  // groups past the chunk read nothing
    const Index row = begin + Tile::group();
    to.read(norms, inner, dstream, dnormalised, replica, row < last ? row : inner.rows);
  };
  for_rows_of_chunk<Tile, Row<Tile>>(first, last, read, [&](Row<Tile>& now, Index begin) {
    const Index row = begin + Tile::group();
    float stream[kItems][kVec], branch[kItems][kVec];
#pragma unroll
    for (int item = 0; item < kItems; ++item) {
      const Index j = Tile::column(item);
#pragma unroll
      for (int k = 0; k < kVec; ++k)  // past the end: the mean, so that it adds nothing
        stream[item][k] = j < cols ? now.inner[item][k] : now.statistics[1].mean;
      if (j >= cols) continue;
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        branch[item][k] = now.inner[item][k];
      norms.weights[0].apply(replica, j, now.statistics[0], branch[item]);
      add_branch(norms.mask[1], replica, row * cols + j, branch[item], stream[item]);
    }
    outer_norm.add_row(now.statistics[1], cols, true, sums, stream, now.dnormalised, now.total);
#pragma unroll
    for (int item = 0; item < kItems; ++item) {  // the gradient of the inner norm
      const Index j = Tile::column(item);
      float scales[kVec] = {};
      if (row < last && j < cols) dropout_scales(norms.mask[1], replica, row * cols + j, scales);
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        branch[item][k] = now.total[item][k] * scales[k];
    }
    inner_norm.add_row(now.statistics[0], cols, true, sums, now.inner, branch, now.total);
#pragma unroll
    for (int item = 0; item < kItems; ++item) {
      const Index j = Tile::column(item);
      if (row >= last || j >= cols) continue;
      if (dr.wanted)
        write_numbers(now.total[item], dr.accumulate, place_of(dr.view, replica, row, j));
      if (!dh.wanted) continue;
      float dbranch[kVec];
      dropout_scales(norms.mask[0], replica, row * cols + j, dbranch);
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        dbranch[k] *= now.total[item][k];
      write_numbers(dbranch, dh.accumulate, place_of(dh.view, replica, row, j));
    }
  });
  if (parts == nullptr) return;
  float* part = parts + (replica * Index{gridDim.x} + blockIdx.x) * 2 * cols;
  inner_norm.write(columns, cols, part);
  outer_norm.write(columns, cols, part + gridDim.y * Index{gridDim.x} * 2 * cols);
}

Norms norms_of(const CudaCall& call, const DoubleResidualNormCuda& norm) {
  return {{dropout_on_device(call, norm.random_ids[0], norm.p),
           dropout_on_device(call, norm.random_ids[1], norm.p)},
          {{norm.weight[0], norm.bias[0]}, {norm.weight[1], norm.bias[1]}},
          {norm.saved[0], norm.saved[1]}};
}

bool weights_in_quads(const DoubleResidualNormCuda& norm) {
  return all_in_quads(norm.weight[0], norm.bias[0], norm.weight[1], norm.bias[1]);
}

}  // namespace

void double_residual_norm_forward_cuda(const CudaCall& call, const DoubleResidualNormCuda& norm,
                                       const Batched<float>& r, const Batched<float>& h,
                                       const Batched<float>& stream,
                                       const Batched<float>& normalised) {
  const bool quads = weights_in_quads(norm) && all_in_quads(r, h, norm.inner, stream, normalised);
  with_row_tile(r.cols, quads, [&](auto tile) {
    using Tile = decltype(tile);
    const dim3 blocks(static_cast<unsigned>((r.rows + Tile::kGroups - 1) / Tile::kGroups),
                      static_cast<unsigned>(r.replicas));
    cuda_launch("double_residual_norm", double_forward_rows<Tile>,
                {blocks, kNormThreads, 0, call.stream}, norms_of(call, norm),
                static_cast<float>(norm.eps), r, h, norm.inner, stream, normalised);
  });
}

void double_residual_norm_backward_cuda(const CudaCall& call, const DoubleResidualNormCuda& norm,
                                        const Batched<float>& dstream,
                                        const Batched<float>& dnormalised,
                                        const DoubleResidualNormGradients& to, float* scratch) {
  const Batched<float>& x = norm.inner;
  const auto wanted = [&](int which) { return to.dweight[which].wanted || to.dbias[which].wanted; };
  const Index chunks = norm_chunks(x.rows);
  const bool quads =
      weights_in_quads(norm) && all_in_quads(x, dstream, dnormalised, to.dr.view, to.dh.view);
  with_row_tile(x.cols, quads, [&](auto tile) {
    const dim3 blocks(static_cast<unsigned>(chunks), static_cast<unsigned>(x.replicas));
    cuda_launch("double_residual_norm_backward", double_backward_rows<decltype(tile)>,
                {blocks, kNormThreads, 0, call.stream}, norms_of(call, norm), x, dstream,
                dnormalised, to.dr, to.dh, norm_chunk_rows(x.rows),
                wanted(0) || wanted(1) ? scratch : nullptr);
  });
  for (int which = 0; which < 2; ++which)
    if (wanted(which))
      add_norm_parts_cuda(call, scratch + which * norm_cuda_scratch(x.replicas, x.rows, x.cols),
                          chunks, to.dweight[which], to.dbias[which]);
}

}  // namespace recallbench
