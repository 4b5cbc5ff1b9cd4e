#pragma once

// What the kernels of generalized_delta_rule share. With b = -κ ⊙ a and r_t = S_{t-1}ᵀ κ_t,
//   S_t = diag(e^{g_t}) S_{t-1} + k_t v_tᵀ + b_t r_tᵀ:
// k and b write rows v and r, q and κ read the columns o and r. A block has one (replica, example,
// head) and a matrix [keys, values] in registers: all numbers along one of its dimensions, and
// `width` places across, which do not meet. `Lanes` neighbouring lanes share the numbers along,
// 4 · Quads each, and have kWalkAcross places across, so that a sum along is one over registers and
// then over lanes. Rows of tokens lie in shared memory, `stage` at a time; numbers beyond a
// tensor's are 0 there, decays 1.

#include <cuda_pipeline_primitives.h>

#include <initializer_list>
#include <type_traits>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/generalized_delta_rule/generalized_delta_rule_cuda.h"

namespace recallbench {

constexpr int kWalkChunk = static_cast<int>(GeneralizedDeltaRulePlan::kChunk);
constexpr int kWalkStage = 8;  // tokens of a walk that lie in shared memory, the next beside them
static_assert(kWalkChunk % kWalkStage == 0);
constexpr int kWalkAcross = 2;     // one access of 8 bytes
constexpr int kWalkThreads = 128;  // at most
constexpr int kWalkBlocks = 4;  // on a multiprocessor: those of 256 examples of two heads at once

/// How blocks share an item.
struct WalkShape {
  int threads, width;  ///< of a block; its places across
  Index tiles;         ///< blocks of an item

  WalkShape(Index across, int span, int lanes) : threads(span / 4 < 32 ? 32 : span / 4) {
    while (threads < kWalkThreads && Index{threads} / lanes * kWalkAcross < across)
      threads *= 2;
    width = threads / lanes * kWalkAcross;
    tiles = (across + width - 1) / width;
  }
};

/// launch(shape, Quads, Lanes), the latter two constants, of a walk with `along` numbers along.
template <class Launch>
void walk_dispatch(Index along, Index across, const Launch& launch) {
  const auto with = [&](auto quads, auto lanes) {
    constexpr int kSpan = 4 * decltype(quads)::value * decltype(lanes)::value;
    launch(WalkShape(across, kSpan, decltype(lanes)::value), quads, lanes);
  };
  if (along <= 32)
    with(std::integral_constant<int, 2>{}, std::integral_constant<int, 4>{});
  else if (along <= 64)
    with(std::integral_constant<int, 4>{}, std::integral_constant<int, 4>{});
  else if (along <= 128)
    with(std::integral_constant<int, 4>{}, std::integral_constant<int, 8>{});
  else
    with(std::integral_constant<int, 4>{}, std::integral_constant<int, 32>{});
}

/// A thread's place; `across` counts from the block's first. An item has `chunks` blocks for each
/// part of its places: one that walks, or one a chunk.
struct WalkPlace {
  Index replica, example, row;  ///< `row`: the example's first token
  int head, first, count, width, across, length, chunk, stage;
  bool writes;  ///< for its places across: one lane of those that share them

  __device__ WalkPlace(const GeneralizedDeltaRulePlan& p, const WalkShape& shape, Index places,
                       int lanes, Index chunks, int stage)
      : first(static_cast<int>(blockIdx.x % shape.tiles) * shape.width),
        count(min(shape.width, static_cast<int>(places) - first)),
        width(shape.width),
        across(static_cast<int>(threadIdx.x) / lanes * kWalkAcross),
        length(static_cast<int>(p.length)),
        chunk(static_cast<int>(blockIdx.x / shape.tiles % chunks)),
        stage(stage),
        writes(static_cast<int>(threadIdx.x) % lanes == 0) {
    const Index item = blockIdx.x / shape.tiles / chunks, pair = item / p.heads;
    head = static_cast<int>(item % p.heads);
    replica = pair / p.examples;
    example = pair % p.examples;
    row = example * p.length;
  }

  __device__ int tokens(int token) const { return min(stage, length - token); }
  /// The head's matrix after `chunk`, of m [R, B·(chunks - 1), H·K·V].
  __device__ float* matrix(const GeneralizedDeltaRulePlan& p, const Batched<float>& m,
                           int chunk) const {
    return m.data + replica * m.replica_stride +
           (example * ((length - 1) / kWalkChunk) + chunk) * m.stride + head * p.keys * p.values;
  }
};

/// Rows of a tensor from one token on, columns of one head from one place on.
struct WalkRows {
  float* data;
  Index stride;
  int stage, tokens, cols;
  bool quads;  ///< whether they are read in pieces of four numbers

  __device__ WalkRows(const Batched<float>& m, const WalkPlace& at, int token, Index first,
                      int cols, bool quads)
      : data(m.data + at.replica * m.replica_stride + (at.row + token) * m.stride + first),
        stride(m.stride),
        stage(at.stage),
        tokens(at.tokens(token)),
        cols(cols),
        quads(quads) {}
};

/// body(row, column) for the first of every four numbers of `stage` rows that are this thread's;
/// the same for rows of the same width.
template <class Body>
__device__ inline void walk_quads(int stage, int width, const Body& body) {
  const int per_row = width / 4, rows = static_cast<int>(blockDim.x) / per_row;
  const int column = static_cast<int>(threadIdx.x) % per_row * 4;
  for (int i = static_cast<int>(threadIdx.x) / per_row; i < stage; i += rows)
    body(i, column);
}

/// to [stage, width] = from, 0 beyond it; its rows begin `stride` apart. The thread has its numbers
/// after walk_wait.
__device__ inline void walk_load(float* to, int stride, int width, const WalkRows& from) {
  walk_quads(from.stage, width, [&](int i, int j) {
    float* place = to + i * stride + j;
    const int count = i < from.tokens ? from.cols - j : 0;
    if (count > 0 && from.quads) {
      __pipeline_memcpy_async(place, from.data + i * from.stride + j, 16);
    } else {
#pragma unroll
      for (int n = 0; n < 4; ++n)
        place[n] = n < count ? from.data[i * from.stride + j + n] : 0.0f;
    }
  });
}
__device__ inline void walk_load(float* to, int width, const WalkRows& from) {
  walk_load(to, width, width, from);
}
__device__ inline void walk_wait() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
}

/// Of numbers that this thread has: e^g in place of g; b = -κ ⊙ a in place of a.
__device__ inline void walk_make_decays(float* decay, int stage, int width) {
  walk_quads(stage, width, [&](int i, int j) {
#pragma unroll
    for (int n = 0; n < 4; ++n)
      decay[i * width + j + n] = expf(decay[i * width + j + n]);
  });
}
__device__ inline void walk_make_b(float* b, const float* kappa, int stage, int width) {
  walk_quads(stage, width, [&](int i, int j) {
#pragma unroll
    for (int n = 0; n < 4; ++n)
      b[i * width + j + n] *= -kappa[i * width + j + n];
  });
}

/// to = from, or += that.
__device__ inline void walk_store(const float* from, int width, const WalkRows& to,
                                  bool accumulate) {
  walk_quads(to.stage, width, [&](int i, int j) {
    if (i >= to.tokens || j >= to.cols) return;
    float x[4], before[4];
    load_numbers<4>(from + i * width + j, x);
    float* place = to.data + i * to.stride + j;
    if (to.quads) {
      if (accumulate) {
        load_numbers<4>(place, before);
#pragma unroll
        for (int n = 0; n < 4; ++n)
          x[n] += before[n];
      }
      store_numbers<4>(x, place);
    } else {
#pragma unroll
      for (int n = 0; n < 4; ++n)
        if (j + n < to.cols) place[n] = accumulate ? place[n] + x[n] : x[n];
    }
  });
}

/// The numbers along of piece `quad` that are this lane's.
template <int Lanes>
__device__ inline float4 walk_quad(const float* row, int quad) {
  const int lane = static_cast<int>(threadIdx.x) % Lanes;
  return reinterpret_cast<const float4*>(row)[quad * Lanes + lane];
}
__device__ inline float walk_number(const float4& x, int i) {
  return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w;
}

/// Leaves a matrix [keys, values] that lanes share along its keys.
template <int Quads, int Lanes>
__device__ inline void walk_keep(const GeneralizedDeltaRulePlan& p, const WalkPlace& at,
                                 const float (&matrix)[kWalkAcross][4 * Quads], float* to,
                                 bool quads) {
  if (at.across >= at.count) return;
  const int keys = static_cast<int>(p.keys), stride = static_cast<int>(p.values);
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const int key = (n * Lanes + static_cast<int>(threadIdx.x) % Lanes) * 4;
    if (key >= keys) return;
    float* place = to + key * stride + at.first + at.across;
#pragma unroll
    for (int i = 0; i < 4; ++i, place += stride)
      if (quads) {
        store_numbers<2>({matrix[0][4 * n + i], matrix[1][4 * n + i]}, place);
      } else if (key + i < keys) {
        place[0] = matrix[0][4 * n + i];
        if (at.across + 1 < at.count) place[1] = matrix[1][4 * n + i];
      }
  }
}

/// Every lane gets the sums of those that share its places across.
template <int Lanes>
__device__ inline void walk_sum(float (&x)[kWalkAcross]) {
#pragma unroll
  for (float& number : x)
    number = warp_sum<Lanes>(number);
}

/// kernel(arguments...) for `items` of every replica; `numbers` of shared memory.
template <class Kernel, class... Arguments>
void walk_launch(const CudaCall& call, const char* name, Kernel* kernel, Index items,
                 const WalkShape& shape, int numbers, const Arguments&... arguments) {
  const int bytes = numbers * static_cast<int>(sizeof(float));
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
             "cudaFuncSetAttribute");
  kernel<<<static_cast<unsigned>(items * shape.tiles), static_cast<unsigned>(shape.threads), bytes,
           call.stream>>>(arguments...);
  cuda_check_launch(name);
}

/// Whether every tensor can be read and written in pieces of four numbers.
inline bool walk_in_quads(const GeneralizedDeltaRulePlan& p,
                          std::initializer_list<Batched<float>> tensors) {
  bool quads = p.keys % 4 == 0 && p.values % 4 == 0;
  for (const Batched<float>& tensor : tensors)
    quads = quads && in_quads(tensor);
  return quads;
}

}  // namespace recallbench
