#pragma once

// Norms of groups of neighbouring columns, such as heads: a group is a row to the tiles of
// norm_rows.cuh.

#include "kernels/norm/norm_rows.cuh"

namespace recallbench {

/// Group `index` of a replica, counted row after row: where it begins in a tensor.
struct RowGroup {
  Index replica, row, first;  ///< `first`: its first column
  std::uint32_t group;

  __device__ RowGroup(std::uint32_t index, std::uint32_t groups, Index width)
      : replica(blockIdx.y), row(index / groups), group(index % groups) {
    first = group * width;
  }
  __device__ float* at(const Batched<float>& m, Index column) const {
    return m.data + replica * m.replica_stride + row * m.stride + first + column;
  }
  /// The group's number in a tensor that has one for each.
  __device__ float* number(const Batched<float>& m) const {
    return m.data + replica * m.replica_stride + row * m.stride + group;
  }
};

/// What a lane has of a group.
template <class Tile>
using LaneNumbers = float[Tile::kItems][Tile::kVec];

/// The lane's numbers of a group, zeros where there are none.
template <class Tile>
__device__ void load_group(const Batched<float>& from, const RowGroup& at, Index width, bool inside,
                           LaneNumbers<Tile>& to) {
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item) {
#pragma unroll
    for (int k = 0; k < Tile::kVec; ++k)
      to[item][k] = 0;
    if (inside && Tile::column(item) < width)
      load_numbers(at.at(from, Tile::column(item)), to[item]);
  }
}

/// Numbers of a group to its gradient from `column` on.
template <int kVec>
__device__ inline void write_group(const Gradient<float>& to, const RowGroup& at, Index column,
                                   const float (&numbers)[kVec]) {
  if (to.wanted) write_numbers(numbers, to.accumulate, at.at(to.view, column));
}

/// sums[j] = Σ over the block's groups, in order, of what their lanes have of column j < width. All
/// threads take part.
template <class Tile>
__device__ void sum_groups(const LaneNumbers<Tile>& mine, Index width, float* sums) {
  __shared__ float columns[Tile::kGroups][Tile::kCols];
  __syncthreads();  // of an earlier call
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item)
#pragma unroll
    for (int k = 0; k < Tile::kVec; ++k)
      columns[Tile::group()][Tile::column(item) + k] = mine[item][k];
  __syncthreads();
  for (Index j = threadIdx.x; j < width; j += kNormThreads) {
    float sum = columns[0][j];
    for (int g = 1; g < Tile::kGroups; ++g)
      sum += columns[g][j];
    sums[j] = sum;
  }
}

/// Groups of a replica; more than a GPU kernel counts are an Error.
inline std::uint32_t count_groups(const char* who, const Batched<float>& x, Index width) {
  const Index count = x.rows * (x.cols / width);
  check(count < Index{1} << 31, who, "more groups of columns than a GPU kernel counts");
  return static_cast<std::uint32_t>(count);
}

/// Blocks for `count` groups of each of `replicas`, `per_block` of them a block.
inline dim3 group_blocks(std::uint32_t count, Index per_block, Index replicas) {
  return dim3(static_cast<unsigned>((count + per_block - 1) / per_block),
              static_cast<unsigned>(replicas));
}

}  // namespace recallbench
