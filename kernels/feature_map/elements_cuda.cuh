#pragma once

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

constexpr int kElementThreads = 256;
constexpr Index kElementsOfBlock = 4096;
constexpr Index kRowsOfBlock = 512;  // at most

/// Rows that a block takes, so that it has work for all threads and 32-bit indices.
inline Index rows_of_block(Index cols) {
  return std::clamp<Index>(kElementsOfBlock / cols, 1, kRowsOfBlock);
}

inline dim3 blocks_of_rows(Index rows, Index rows_each, Index replicas) {
  return {static_cast<unsigned>((rows + rows_each - 1) / rows_each),
          static_cast<unsigned>(replicas)};
}

/// body(replica, row, col) for every element of [R, rows, cols], neighbours in neighbouring
/// threads. Block x takes `rows_each` rows of replica y.
template <class Body>
__global__ void for_elements(Index rows, int cols, Index rows_each, Body body) {
  after_previous();
  const Index first = blockIdx.x * rows_each;
  const int count = static_cast<int>(min(rows_each, rows - first)) * cols;
#pragma unroll 4
  for (int i = threadIdx.x; i < count; i += kElementThreads)
    body(blockIdx.y, first + i / cols, i % cols);
}

template <class Body>
void launch_for_elements(CudaStream stream, const char* name, const Batched<float>& like,
                         const Body& body) {
  const Index rows_each = rows_of_block(like.cols);
  cuda_launch(name, for_elements<Body>,
              {blocks_of_rows(like.rows, rows_each, like.replicas), kElementThreads, 0, stream},
              like.rows, static_cast<int>(like.cols), rows_each, body);
}

}  // namespace recallbench
