#pragma once

#include "kernels/base/error.h"
#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Blocks for `count` items of each replica, `per_block` of them a block; blockIdx.y is the
/// replica.
inline dim3 blocks_for(const char* who, Index count, Index per_block, Index replicas) {
  const Index blocks = (count + per_block - 1) / per_block;
  check(blocks < Index{1} << 31, who, "more rows than a GPU kernel counts");
  return dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(replicas));
}

}  // namespace recallbench
