#pragma once

#include "kernels/cuda/call.h"
#include "kernels/ssd/chunks.cuh"

// What the blocks of ssd's backward leave for sums over blocks.

namespace recallbench {

/// tokens [R, heads parts, B L, 2, share()], steps [R, parts, B L, H] (only where there are several
/// parts), rates [R, B parts, 2, H], skips [R, B, H P] or [R, B parts, H].
struct SsdShares {
  float *tokens, *steps, *rates, *skips;
};

/// Numbers of the shares; those that are read in quads come first.
struct SsdShareSizes {
  Index tokens, steps, rates, skips;

  SsdShareSizes(Index replicas, const SsdSize& s) {
    const Index parts = ssd_parts(s), rows = replicas * s.examples * s.length;
    tokens = rows * s.heads * parts * 2 * ssd_states(s, 0).share();
    steps = parts == 1 ? 0 : rows * s.heads * parts;
    rates = replicas * s.examples * parts * 2 * s.heads;
    skips = replicas * s.examples * (s.skips == s.heads ? parts * s.heads : s.skips);
  }
};

__device__ inline void ssd_store(const Gradient<float>& to, Index replica, Index row, Index column,
                                 bool accumulate, float value) {
  if (!to.wanted) return;
  float* place = ssd_row(to.view, replica, row) + column;
  *place = accumulate ? *place + value : value;
}

/// The gradients that are sums of shares, of the columns of `states`, enqueued.
void ssd_add_shares_cuda(const CudaCall& call, Index replicas, const SsdSize& s,
                         const SsdStates& states, const SsdGradients<float>& out,
                         const SsdShares& shares);

}  // namespace recallbench
