#pragma once

// What the kernels of grouped_attention and choose_blocks have in common: which keys a query sees,
// and how a warp holds rows of a head.

#include <cmath>
#include <type_traits>

#include "kernels/base/error.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/reduce.cuh"
#include "mixers/nsa/sparse_cuda.h"

namespace recallbench {

/// SparseInputs for kernels.
struct SparseOnDevice {
  Batched<float> q, k, v, chosen;
  const std::int32_t* at;  ///< [R, examples, queries], or null: query i stands at i
  Visible visible;
  int examples, queries, keys, heads, kv_heads, head_dim, choices, groups;
  int memory, block, back, ahead;
  float scale;

  explicit SparseOnDevice(const SparseInputs& in)
      : q(in.q),
        k(in.k),
        v(in.v),
        chosen(in.chosen),
        at(in.size.at),
        visible(in.size.options.visible),
        examples(static_cast<int>(in.size.examples)),
        queries(static_cast<int>(in.size.queries)),
        keys(static_cast<int>(in.size.keys)),
        heads(static_cast<int>(in.size.options.heads)),
        kv_heads(static_cast<int>(in.size.options.kv_heads)),
        head_dim(static_cast<int>(in.size.head_dim)),
        choices(static_cast<int>(in.size.choices)),
        groups(static_cast<int>(in.size.groups)),
        memory(static_cast<int>(in.size.options.memory)),
        block(static_cast<int>(in.size.options.block)),
        back(static_cast<int>(in.size.options.back)),
        ahead(static_cast<int>(in.size.options.ahead)),
        scale(1 / std::sqrt(static_cast<float>(in.size.head_dim))) {}

  /// Query heads of a key head.
  __device__ int group() const { return heads / kv_heads; }
  /// Position of query `row` of a replica, counted over its examples.
  __device__ int position(Index replica, Index row) const {
    return at == nullptr ? static_cast<int>(row % queries) : at[replica * examples * queries + row];
  }
  /// What the query at `row` chose for head h.
  __device__ const float* chosen_by(Index replica, Index row, int h) const {
    const int of = groups == heads ? h : h / group();
    return chosen.data + replica * chosen.replica_stride + row * chosen.stride + of * choices;
  }
  /// Calls see(first, count) for the runs of keys that a query at t sees.
  template <class See>
  __device__ void for_visible(int t, const float* chosen_blocks, const See& see) const {
    if (visible == Visible::blocks) return see(0, min(keys, memory + t / block));
    if (visible == Visible::band) {
      const int first = max(0, t - back);
      return see(first, min(keys, t + ahead + 1) - first);
    }
    for (int i = 0; i < choices; ++i)
      if (chosen_blocks[i] >= 0) see(static_cast<int>(chosen_blocks[i]) * block, block);
    const int own = t / block * block;
    see(own, t + 1 - own);
  }
};

__device__ inline float* head_row(const Batched<float>& m, Index replica, Index row, Index column) {
  return m.data + replica * m.replica_stride + row * m.stride + column;
}

/// Where a query of one head is; item counts queries, then heads, examples and replicas.
struct QueryPlace {
  Index replica, row, first_key;  ///< `row`: of q; `first_key`: the row of its example's first key
  int head, kv_column, position;

  __device__ QueryPlace(const SparseOnDevice& s, Index item) {
    const Index of_head = item / s.queries, example = of_head / s.heads % s.examples;
    replica = of_head / s.heads / s.examples;
    row = example * s.queries + item % s.queries;
    first_key = example * s.keys;
    head = static_cast<int>(of_head % s.heads);
    kv_column = head / s.group() * s.head_dim;
    position = s.position(replica, row);
  }
};

/// How a warp works on rows of a head: kLanes neighbouring lanes hold a row, kNumbers each, in
/// pieces of kVec columns that lie side by side over the lanes; 32 / kLanes rows at a time.
template <int kVecOf, int kLanesOf, int kNumbersOf>
struct WarpLayout {
  static constexpr int kVec = kVecOf, kLanes = kLanesOf, kNumbers = kNumbersOf;
  static constexpr int kRows = 32 / kLanes;
  static constexpr int kWidest = kLanes * kNumbers;

  static __device__ int row() { return threadIdx.x % 32 / kLanes; }
  /// First column of a lane's piece.
  static __device__ int column(int piece) { return (piece * kLanes + threadIdx.x % kLanes) * kVec; }
};

/// A lane's numbers of a row.
template <class Layout>
struct RowPart {
  static constexpr int kVec = Layout::kVec, kPieces = Layout::kNumbers / kVec;
  float piece[kPieces][kVec];

  __device__ void clear() {
#pragma unroll
    for (int p = 0; p < kPieces; ++p)
#pragma unroll
      for (int i = 0; i < kVec; ++i)
        piece[p][i] = 0;
  }
  /// From a row of `width` numbers; zeros behind it.
  __device__ void load(const float* row, int width) {
    clear();
#pragma unroll
    for (int p = 0; p < kPieces; ++p)
      if (Layout::column(p) < width) load_numbers(row + Layout::column(p), piece[p]);
  }
  /// The same with numbers of the row itself behind it: for what meets zeros there.
  __device__ void load_any_behind(const float* row, int width) {
#pragma unroll
    for (int p = 0; p < kPieces; ++p)
      load_numbers(row + (Layout::column(p) < width ? Layout::column(p) : 0), piece[p]);
  }
  __device__ void scale(float factor) {
#pragma unroll
    for (int p = 0; p < kPieces; ++p)
#pragma unroll
      for (int i = 0; i < kVec; ++i)
        piece[p][i] *= factor;
  }
  __device__ void add(float factor, const RowPart& other) {
#pragma unroll
    for (int p = 0; p < kPieces; ++p)
#pragma unroll
      for (int i = 0; i < kVec; ++i)
        piece[p][i] += factor * other.piece[p][i];
  }
  /// ⟨row, other row⟩, to every lane of the row.
  __device__ float dot(const RowPart& other) const {
    float sum = 0;
#pragma unroll
    for (int p = 0; p < kPieces; ++p)
#pragma unroll
      for (int i = 0; i < kVec; ++i)
        sum += piece[p][i] * other.piece[p][i];
    return warp_sum<Layout::kLanes>(sum);
  }
  /// Every row becomes the sum of the warp's rows.
  __device__ void sum_rows() {
#pragma unroll
    for (int p = 0; p < kPieces; ++p)
#pragma unroll
      for (int i = 0; i < kVec; ++i)
        for (int offset = Layout::kLanes; offset < 32; offset *= 2)
          piece[p][i] += __shfl_xor_sync(0xffffffffu, piece[p][i], offset);
  }
  __device__ void store(float* row, int width, bool accumulate) {
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      if (Layout::column(p) >= width) continue;
      if (accumulate) {
        float before[kVec];
        load_numbers(row + Layout::column(p), before);
#pragma unroll
        for (int i = 0; i < kVec; ++i)
          piece[p][i] += before[i];
      }
      store_numbers(piece[p], row + Layout::column(p));
    }
  }
};

/// Over the rows of a warp, of a number that all lanes of a row have.
template <class Layout>
__device__ inline float sum_over_rows(float x) {
  for (int offset = Layout::kLanes; offset < 32; offset *= 2)
    x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}
template <class Layout>
__device__ inline float max_over_rows(float x) {
  for (int offset = Layout::kLanes; offset < 32; offset *= 2)
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

/// Softmax over the keys of a row of lanes as they come (Milakov and Gimelshein 2018, "Online
/// normalizer calculation for softmax"), the rows put together in the end.
struct RunningSoftmax {
  float highest = -INFINITY, sum = 0;

  /// The weight of a key. shrink(factor) is called before it, where it is the highest so far, for
  /// what was summed with weights.
  template <class Shrink>
  __device__ float weight(float score, const Shrink& shrink) {
    if (score > highest) {
      const float factor = __expf(highest - score);
      shrink(factor);
      sum *= factor;
      highest = score;
    }
    const float own = __expf(score - highest);
    sum += own;
    return own;
  }
  /// The factor that turns the row's weights into probabilities; 0 where the warp saw no key.
  /// Afterwards `highest` and `sum` are those of all rows.
  template <class Layout>
  __device__ float finish() {
    const float of_row = highest;
    highest = max_over_rows<Layout>(of_row);
    const float factor = of_row == -INFINITY ? 0 : __expf(of_row - highest);
    sum = sum_over_rows<Layout>(sum * factor);
    return highest == -INFINITY ? 0 : factor / sum;
  }
};

/// Calls body(WarpLayout) for the layout of heads of this width; `quads`: whether all rows can be
/// read in pieces of four.
template <class Body>
void with_layout(const char* who, int width, bool quads, const Body& body) {
  check(width <= 2048, who, "heads of more than 2048 columns have no CUDA code; use more heads");
  const auto choose = [&](auto vec) {
    constexpr int kVec = decltype(vec)::value;
    if (width <= 32) return body(WarpLayout<kVec, 4, 8>{});
    if (width <= 64) return body(WarpLayout<kVec, 4, 16>{});
    if (width <= 128) return body(WarpLayout<kVec, 8, 16>{});
    if (width <= 512) return body(WarpLayout<kVec, 32, 16>{});
    body(WarpLayout<kVec, 32, 64>{});
  };
  if (quads && width % 4 == 0) return choose(std::integral_constant<int, 4>{});
  choose(std::integral_constant<int, 1>{});
}

inline unsigned sparse_blocks(const char* who, Index items, Index per_block) {
  const Index blocks = (items + per_block - 1) / per_block;
  check(blocks < Index{1} << 31, who, "more queries than a GPU kernel counts");
  return static_cast<unsigned>(blocks);
}

}  // namespace recallbench
