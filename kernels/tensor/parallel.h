#pragma once

#include <memory>
#include <type_traits>

#include "kernels/tensor/shape.h"

namespace recallbench {

/// Threads that parallel_for uses from now on, this one included; at least 1. Process-wide.
void set_threads(int threads);
int threads();

namespace detail {
using Block = void (*)(const void* body, Index block);
void run_blocks(Index blocks, Block call, const void* body);
}  // namespace detail

/// Calls body(0) ... body(blocks - 1), each once, on any thread and in any order; returns when all
/// are done. Blocks must write disjoint memory. What a block is may depend on shapes alone, never
/// on the number of threads: so the bits do not either. Allocates nothing; the first exception of
/// a block is thrown again here. Calls do not nest.
template <class Body>
void parallel_for(Index blocks, const Body& body) {
  detail::run_blocks(
      blocks, [](const void* b, Index block) { (*static_cast<const Body*>(b))(block); }, &body);
}

/// Blocks of `grain` that [0, n) takes, the last one perhaps smaller.
inline Index blocks_of(Index n, Index grain) {
  return (n + grain - 1) / grain;
}

/// The same over [0, n) in blocks of `grain`: body(first, count).
template <class Body>
void parallel_ranges(Index n, Index grain, const Body& body) {
  parallel_for(blocks_of(n, grain), [&](Index block) {
    const Index first = block * grain;
    body(first, first + grain < n ? grain : n - first);
  });
}

}  // namespace recallbench
