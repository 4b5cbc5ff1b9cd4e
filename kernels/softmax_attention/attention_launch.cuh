#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/base/error.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/softmax_attention/attention_tiles.cuh"
#include "kernels/softmax_attention/softmax_attention_cuda.h"

// From what an operation knows to a launch.

namespace recallbench {

inline AttentionTensor attention_tensor(const Batched<float>& x, Index rows, Index width) {
  const bool vector = reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.stride % 4 == 0 &&
                      x.replica_stride % 4 == 0 && width % 4 == 0;
  return {x.data, x.stride, x.replica_stride, static_cast<int>(rows), static_cast<int>(width),
          vector};
}

inline AttentionTarget attention_target(const Gradient<float>& g, Index rows, Index width) {
  if (!g.wanted) return {};
  return {attention_tensor(g.view, rows, width), true, g.accumulate};
}

inline DropoutOnDevice attention_mask(const CudaCall& call, const AttentionCuda& a) {
  if (a.dropout == 0) return {};
  const double threshold = std::min(std::floor((1 - a.dropout) * 0x1p32), 0x1p32 - 1);
  return {call.seeds, call.step, a.random_id, static_cast<std::uint32_t>(threshold),
          static_cast<float>(1 / (1 - a.dropout))};
}

/// Columns of a tile: kernels exist for 64 and 128.
inline int attention_tile_width(const AttentionCuda& a) {
  return std::max(a.key_width, a.value_width) <= 64 ? 64 : 128;
}

inline AttentionOnDevice attention_on_device(const CudaCall& call, const AttentionCuda& a) {
  const Index width = attention_tile_width(a), widest = std::max(a.key_width, a.value_width);
  return {static_cast<int>(a.examples),
          static_cast<int>(a.heads),
          static_cast<float>(a.scale),
          static_cast<int>(std::min(a.reach, a.keys)),
          a.positions,
          attention_mask(call, a),
          attention_tensor(a.q, a.queries, a.key_width),
          attention_tensor(a.k, a.keys, a.key_width),
          attention_tensor(a.v, a.keys, a.value_width),
          attention_tensor(a.o, a.queries, a.value_width),
          a.log_sum.data,
          a.log_sum.replica_stride,
          static_cast<int>((widest + width - 1) / width)};
}

inline int tiles_of(Index rows, int tile) {
  return static_cast<int>((rows + tile - 1) / tile);
}

/// Calls body(std::integral_constant<Precision, ...>) for the precision of this call.
template <class Body>
void with_precision(Precision precision, const Body& body) {
  switch (precision) {
    case Precision::fp32:
      return body(std::integral_constant<Precision, Precision::fp32>{});
    case Precision::tf32:
      return body(std::integral_constant<Precision, Precision::tf32>{});
    case Precision::bf16:
      return body(std::integral_constant<Precision, Precision::bf16>{});
  }
}

/// Launches `kernel` with one block of kThreads for each of `blocks`.
template <class Argument>
void launch_attention(const char* name, void (*kernel)(Argument), Index blocks, int shared_bytes,
                      const CudaCall& call, const std::type_identity_t<Argument>& argument) {
  check(blocks < Index{1} << 31, "softmax_attention",
        "more than 2^31 blocks of queries; lower the batch size");
  cuda_allow_shared(kernel, shared_bytes, name);
  cuda_prefer_shared(kernel);
  cuda_launch(
      name, kernel,
      {static_cast<unsigned>(blocks), kThreads, static_cast<unsigned>(shared_bytes), call.stream},
      argument);
}

}  // namespace recallbench
