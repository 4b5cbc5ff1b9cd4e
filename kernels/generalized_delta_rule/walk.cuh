#pragma once

// What the kernels of generalized_delta_rule share. With b = -κ ⊙ a and r_t = S_{t-1}ᵀ κ_t,
//   S_t = diag(e^{g_t}) S_{t-1} + k_t v_tᵀ + b_t r_tᵀ:
// k and b write rows v and r, q and κ read the columns o and r. A block has one (replica, example,
// head) and a matrix [keys, values] in registers: all its keys, and `width` of its values, which do
// not meet. `Lanes` neighbouring lanes share the keys, 4 · Quads each, and have Across values:
// a piece of four numbers from shared memory serves 32 multiply-adds, and a sum over keys is one
// over registers and then over lanes. Rows of tokens lie in shared memory, `stage` at a time;
// numbers beyond a tensor's are 0 there, decays 1.

#include <cuda_pipeline_primitives.h>

#include <algorithm>
#include <initializer_list>
#include <type_traits>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/generalized_delta_rule/generalized_delta_rule_cuda.h"

namespace recallbench {

constexpr int kWalkChunk = static_cast<int>(GeneralizedDeltaRulePlan::kChunk);
constexpr int kWalkStage = 4;  // tokens of a walk that lie in shared memory, the next beside them
static_assert(kWalkChunk % kWalkStage == 0);
constexpr int kWalkThreads = 128;  // at most
constexpr Index kWalkFew =
    528;  // items with which a GPU is not full: twice as many warps share each

/// How blocks share an item.
struct WalkShape {
  int threads, width;  ///< of a block; its places across
  Index tiles;         ///< blocks of an item
};

/// launch(shape, Quads, Lanes, Across), the latter three constants, for `items` of all replicas.
/// How many values a thread has changes no bit of them: each has its own sums, in the same order,
/// whose multiply-adds are spelt out.
template <class Launch>
void walk_dispatch(const GeneralizedDeltaRulePlan& p, Index items, const Launch& launch) {
  const auto with = [&](auto quads, auto lanes, auto across) {
    constexpr int kLanes = decltype(lanes)::value, kAcross = decltype(across)::value;
    constexpr int kSpan = 4 * decltype(quads)::value * kLanes;
    int threads = std::max(32, kSpan / 4);
    while (threads < kWalkThreads && Index{threads} / kLanes * kAcross < p.values)
      threads *= 2;
    const int width = threads / kLanes * kAcross;
    launch(WalkShape{threads, width, (p.values + width - 1) / width}, quads, lanes, across);
  };
  const auto shared = [&](auto quads, auto lanes) {
    if (items < kWalkFew)
      with(quads, lanes, std::integral_constant<int, 4>{});
    else
      with(quads, lanes, std::integral_constant<int, 8>{});
  };
  if (p.keys <= 32)
    shared(std::integral_constant<int, 2>{}, std::integral_constant<int, 4>{});
  else if (p.keys <= 64)
    shared(std::integral_constant<int, 4>{}, std::integral_constant<int, 4>{});
  else if (p.keys <= 128)
    shared(std::integral_constant<int, 4>{}, std::integral_constant<int, 8>{});
  else
    shared(std::integral_constant<int, 4>{}, std::integral_constant<int, 32>{});
}

/// A block's place. An item has `chunks` blocks for each part of its places: one that walks, or one
/// a chunk.
struct WalkPlace {
  Index replica, example, row;  ///< `row`: the example's first token
  int head, first, count, width, length, chunk, stage;

  __device__ WalkPlace(const GeneralizedDeltaRulePlan& p, const WalkShape& shape, Index places,
                       Index chunks, int stage)
      : first(static_cast<int>(blockIdx.x % shape.tiles) * shape.width),
        count(min(shape.width, static_cast<int>(places) - first)),
        width(shape.width),
        length(static_cast<int>(p.length)),
        chunk(static_cast<int>(blockIdx.x / shape.tiles % chunks)),
        stage(stage) {
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
    float x[4];
    load_numbers(decay + i * width + j, x);
#pragma unroll
    for (float& number : x)
      number = expf(number);
    store_numbers(x, decay + i * width + j);
  });
}
__device__ inline void walk_make_b(float* b, const float* kappa, int stage, int width) {
  walk_quads(stage, width, [&](int i, int j) {
    float x[4], removal[4];
    load_numbers(b + i * width + j, x);
    load_numbers(kappa + i * width + j, removal);
#pragma unroll
    for (int n = 0; n < 4; ++n)
      x[n] *= -removal[n];
    store_numbers(x, b + i * width + j);
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

/// The first of a thread's places across, from the block's first on.
template <int Lanes, int Across>
__device__ inline int walk_across() {
  return static_cast<int>(threadIdx.x) / Lanes * Across;
}
/// Whether it writes for them: one lane of those that share them.
template <int Lanes>
__device__ inline bool walk_writes() {
  return static_cast<int>(threadIdx.x) % Lanes == 0;
}

/// Leaves a matrix [keys, values] that lanes share along its keys.
template <int Quads, int Lanes, int Across>
__device__ inline void walk_keep(const GeneralizedDeltaRulePlan& p, const WalkPlace& at,
                                 const float (&matrix)[Across][4 * Quads], float* to, bool quads) {
  const int across = walk_across<Lanes, Across>();
  if (across >= at.count) return;
  const int keys = static_cast<int>(p.keys), stride = static_cast<int>(p.values);
#pragma unroll
  for (int n = 0; n < Quads; ++n) {
    const int key = (n * Lanes + static_cast<int>(threadIdx.x) % Lanes) * 4;
    if (key >= keys) return;
    float* place = to + key * stride + at.first + across;
#pragma unroll
    for (int i = 0; i < 4; ++i, place += stride)
#pragma unroll
      for (int h = 0; h < Across; h += 4) {
        if (quads) {
          if (across + h >= at.count) continue;
          store_numbers<4>({matrix[h][4 * n + i], matrix[h + 1][4 * n + i],
                            matrix[h + 2][4 * n + i], matrix[h + 3][4 * n + i]},
                           place + h);
        } else if (key + i < keys) {
#pragma unroll
          for (int j = h; j < h + 4; ++j)
            if (across + j < at.count) place[j] = matrix[j][4 * n + i];
        }
      }
  }
}

/// A thread's numbers of a row of values.
template <int Across>
__device__ inline void walk_read(const float* row, float (&x)[Across]) {
#pragma unroll
  for (int h = 0; h < Across; h += 4) {
    float four[4];
    load_numbers(row + h, four);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      x[h + i] = four[i];
  }
}
template <int Across>
__device__ inline void walk_write(const float (&x)[Across], float* row) {
#pragma unroll
  for (int h = 0; h < Across; h += 4)
    store_numbers<4>({x[h], x[h + 1], x[h + 2], x[h + 3]}, row + h);
}

/// Every lane gets the sums of those that share its places across.
template <int Lanes, int Across>
__device__ inline void walk_sum(float (&x)[Across]) {
#pragma unroll
  for (float& number : x)
    number = warp_sum<Lanes>(number);
}

/// The same sums, of which each lane is left with those of its own part of the places: of
/// Across / Lanes of them, or of one, which other lanes then have too.
template <int Lanes, int Across>
__device__ inline void walk_sum_parts(float (&x)[Across]) {
  const int lane = static_cast<int>(threadIdx.x) % Lanes;
#pragma unroll
  for (int offset = 1, n = Across / 2; offset < Lanes; offset *= 2, n /= 2) {
    if (n == 0) {
      x[0] += __shfl_xor_sync(0xffffffffu, x[0], offset);
      continue;
    }
    const bool upper = (lane & offset) != 0;
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float own = upper ? x[i + n] : x[i], other = upper ? x[i] : x[i + n];
      x[i] = own + __shfl_xor_sync(0xffffffffu, other, offset);
    }
  }
}
/// A lane's part, to the row from the thread's first place on.
template <int Lanes, int Across>
__device__ inline void walk_write_part(const float (&x)[Across], float* row) {
  const int lane = static_cast<int>(threadIdx.x) % Lanes;
  int first = 0;
#pragma unroll
  for (int offset = 1, n = Across / 2; offset < Lanes && n > 0; offset *= 2, n /= 2)
    first += (lane & offset) != 0 ? n : 0;
  if constexpr (Lanes < Across)
    store_numbers<2>({x[0], x[1]}, row + first);
  else if (lane < Across)
    row[first] = x[0];
}

/// kernel(arguments...) for `items` of every replica; `numbers` of shared memory.
template <class Kernel, class... Arguments>
void walk_launch(const CudaCall& call, const char* name, Kernel* kernel, Index items,
                 const WalkShape& shape, int numbers, const Arguments&... arguments) {
  const std::size_t bytes = static_cast<std::size_t>(numbers) * sizeof(float);
  cuda_allow_shared(kernel, bytes, name);
  cuda_launch(name, kernel,
              {static_cast<unsigned>(items * shape.tiles), static_cast<unsigned>(shape.threads),
               bytes, call.stream},
              arguments...);
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
