#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Where a block that has one of several tiles of columns puts its part of a gradient that sums
/// over all of them: the gradient itself where there is one tile; otherwise scratch, tile after
/// tile, [R, tiles, rows · cols].
struct ColumnShare {
  Gradient<float> to;
  Index tile_stride;

#ifdef __CUDACC__
  /// `place`: of the number in `to.view`.
  __device__ void write(float* place, Index tile, float value) const {
    place += tile * tile_stride;
    *place = to.accumulate ? *place + value : value;
  }
#endif
};

/// `scratch` moves on beyond what the share takes: R · tiles · rows · cols numbers, or none.
ColumnShare column_share(const Gradient<float>& gradient, Index tiles, float*& scratch);

/// gradient = Σ of the tiles in order, or += that; nothing is to be done for one tile.
void add_column_shares(const CudaCall& call, const ColumnShare& share, Index tiles,
                       const Gradient<float>& gradient);

}  // namespace recallbench
