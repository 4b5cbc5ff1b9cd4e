#pragma once

// What the forward and the backward kernel of ttt share; notation as in dual.h. A block walks the
// mini-batches of one (replica, example, head). Its matrices have a multiple of 16 rows, and rows 4
// numbers longer than a multiple of 16; tokens beyond the last and columns beyond the width are
// zero. They lie in shared memory as far as that goes, in the order in which they are taken, and
// beyond in global memory of the block's own: sizes are limited by nothing else.

#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/delta_rule/chunk.cuh"
#include "kernels/elementwise/tanh_gelu.h"
#include "kernels/ttt/ttt_cuda.h"

namespace recallbench::ttt_block {

constexpr int kThreads = kDeltaThreads;
constexpr int kWarps = kThreads / 32;
/// Of a multiprocessor, where one layer fits in shared memory: latency decides there.
constexpr int kBlocks = 4;
constexpr Index kMostBlocks = 1024;  ///< where blocks have global memory of their own

inline int padded(Index n) {
  return static_cast<int>((n + 15) / 16 * 16);
}

/// Where a matrix lies: in shared memory from number `offset` on, or where that is negative in
/// the block's global memory from -1 - offset on.
struct Place {
  int offset = 0, stride = 0;
};

/// Hands out places.
class Placing {
 public:
  /// Whether so many numbers still go into shared memory.
  bool fits(Index numbers) const { return shared_ + numbers <= limit_; }
  Place take(Index rows, Index cols) {
    const int stride = padded(cols) + 4;
    return {take_numbers((rows == 1 ? 1 : padded(rows)) * Index{stride}), stride};
  }
  int take_numbers(Index numbers) {
    const bool in_shared = fits(numbers);
    Index& used = in_shared ? shared_ : global_;
    check(used + numbers < Index{1} << 31, "ttt", "an inner model too large for a GPU");
    const int begin = static_cast<int>(used);
    used += numbers;
    return in_shared ? begin : -1 - begin;
  }
  std::size_t shared_bytes() const { return static_cast<std::size_t>(shared_) * sizeof(float); }
  Index global_numbers() const { return global_; }

 private:
  Index limit_ = static_cast<Index>(cuda_shared_limit() / sizeof(float)), shared_ = 0, global_ = 0;
};

/// W [in, out] and b [out] of each layer, from the beginning of an inner model.
struct ModelPlan {
  explicit ModelPlan(const TttSize& s) {
    for (Index l = 0; l < s.layers(); ++l) {
      const int stride = padded(s.out(l)) + 4;
      w[l] = {numbers, stride};
      b[l] = {numbers + padded(s.in(l)) * stride, stride};
      numbers = b[l].offset + stride;
    }
  }
  Place w[2], b[2];
  int numbers = 0;
};

/// Sizes: the widths of a layer's inputs and outputs, as they are and padded, and the padded rows
/// of a mini-batch.
struct Plan {
  Plan(const TttSize& s, Index replicas)
      : examples(s.examples),
        length(s.length),
        items(replicas * s.examples * s.heads),
        heads(static_cast<int>(s.heads)),
        mini_batch(static_cast<int>(s.mini_batch)),
        rows(padded(std::min(s.mini_batch, s.length))),
        chunks(static_cast<int>((s.length + s.mini_batch - 1) / s.mini_batch)),
        scale(static_cast<float>(s.scale)),
        model(s) {
    for (Index l = 0; l < s.layers(); ++l) {
      in[l] = static_cast<int>(s.in(l)), in_padded[l] = padded(s.in(l));
      out[l] = static_cast<int>(s.out(l)), out_padded[l] = padded(s.out(l));
    }
  }
  Index blocks() const { return global > 0 ? std::min(items, kMostBlocks) : items; }

  Index examples, length, items;
  int heads, mini_batch, rows, chunks;
  float scale;
  ModelPlan model;
  int in[2] = {}, out[2] = {}, in_padded[2] = {}, out_padded[2] = {};
  Index global = 0;  ///< numbers of a block's global memory
};

struct Tile {
  float* data;
  int stride;
  __device__ float* row(int i) const { return data + i * stride; }
  __device__ float& operator()(int i, int j) const { return data[i * stride + j]; }
};

/// Of a block; `Shared`: all of it is shared memory, which the compiler then knows.
template <bool Shared>
struct Memory {
  float *shared, *global;
  __device__ float* at(const Place& p) const {
    if constexpr (Shared) return shared + p.offset;
    return p.offset >= 0 ? shared + p.offset : global + (-1 - p.offset);
  }
  __device__ Tile tile(const Place& p) const { return {at(p), p.stride}; }
};

/// Which (replica, example, head) a block is at.
struct Item {
  __device__ Item(const Plan& p, Index item)
      : head(static_cast<int>(item % p.heads)),
        example(item / p.heads % p.examples),
        replica(item / p.heads / p.examples),
        row(example * p.length) {}
  /// Of a tensor of tokens.
  __device__ float* at(const Batched<float>& m, int token, Index column) const {
    return m.data + replica * m.replica_stride + (row + token) * m.stride + column;
  }
  /// Of a parameter with `rows` rows a head.
  __device__ float* own(const Batched<float>& m, int rows) const {
    return m.data + replica * m.replica_stride + Index{head} * rows * m.stride;
  }
  /// The inner model that is kept of a mini-batch.
  __device__ float* kept(const Plan& p, const Batched<float>& m, int chunk) const {
    return m.data + replica * m.replica_stride + (example * p.chunks + chunk) * m.stride +
           Index{head} * p.model.numbers;
  }

  int head;
  Index example, replica, row;
};

/// Deals the jobs of a phase, between two __syncthreads, to warps in turn.
class Turns {
 public:
  template <class Body>
  __device__ void deal(int count, const Body& body) {
    for (; next_ < count; next_ += kWarps)
      body(next_);
    next_ -= count;
  }

 private:
  int next_ = static_cast<int>(threadIdx.x) / 32;
};

/// What a warp computes of a product: 16 rows, `tiles` times 8 columns.
struct Spot {
  int row, column, tiles;
};

/// Computes [rows, cols] in pieces of 16 rows and 8 N columns: add(c, spot) adds products to
/// fragments, then store(i, j, number) is called for every number. Sizes are multiples of 16.
template <int N, class Add, class Store>
__device__ inline void product(Turns& turns, int rows, int cols, const Add& add,
                               const Store& store) {
  const int down = rows / 16;
  turns.deal(down * ((cols + 8 * N - 1) / (8 * N)), [&](int job) {
    const int row = job % down * 16, column = job / down * 8 * N;
    const Spot spot{row, column, min(N, (cols - column) / 8)};
    float c[N][4];
    clear(c);
    add(c, spot);
    delta_fragments<N>(row, column, [&](int n, int e, int i, int j) {
      if (n < spot.tiles) store(i, j, c[n][e]);
    });
  });
}

/// c += a b, a bᵀ, aᵀ b at the spot.
template <Product P, int N>
__device__ inline void add_ab(float (&c)[N][4], const Spot& s, const Tile& a, const Tile& b,
                              int inner) {
  delta_product<P>(c, a.row(s.row), a.stride, b.data + s.column, b.stride, inner, s.tiles);
}
template <Product P, int N>
__device__ inline void add_abt(float (&c)[N][4], const Spot& s, const Tile& a, const Tile& b,
                               int inner) {
  rows_product<P>(c, a.row(s.row), a.stride, b.row(s.column), b.stride, inner, s.tiles);
}
template <Product P, int N>
__device__ inline void add_atb(float (&c)[N][4], const Spot& s, const Tile& a, const Tile& b,
                               int inner) {
  columns_product<P>(c, a.data + s.row, a.stride, b.data + s.column, b.stride, inner, s.tiles);
}

/// Numbers below and on the diagonal of a product of rows, store(i, j, number or 0), each number of
/// [rows, rows].
template <Product P, class Store>
__device__ inline void lower_product(Turns& turns, int rows, const Tile& a, const Tile& b,
                                     int inner, const Store& store) {
  const auto add = [&](auto& c, const Spot& s) {
    if (s.column < s.row + 16) add_abt<P>(c, s, a, b, inner);
  };
  product<1>(turns, rows, rows, add, store);
}

__device__ inline TanhGelu<float> gelu(float x) {
  using F = TanhGelu<float>;
  return {x, tanhf(F::kScale * (x + F::kCubic * x * x * x))};
}

/// What is done row by row is done by half warps: 16 rows are then one for each of a block's.
constexpr int kRowLanes = 16;

/// body(i) for every i < count, a multiple of 2, by a half warp each.
template <class Body>
__device__ inline void rows(Turns& turns, int count, const Body& body) {
  turns.deal(count / 2,
             [&](int pair) { body(2 * pair + static_cast<int>(threadIdx.x) % 32 / kRowLanes); });
}
/// body(j) for every j < count, by a thread each.
template <class Body>
__device__ inline void columns(Turns& turns, int count, const Body& body) {
  turns.deal((count + 31) / 32, [&](int group) {
    const int j = group * 32 + static_cast<int>(threadIdx.x) % 32;
    if (j < count) body(j);
  });
}
__device__ inline int row_lane() {
  return static_cast<int>(threadIdx.x) % kRowLanes;
}
/// body(j) of the lane's numbers of a row of `count`, and a sum over the row's lanes.
template <class Body>
__device__ inline void lanes(int count, const Body& body) {
  for (int j = row_lane(); j < count; j += kRowLanes)
    body(j);
}
__device__ inline float row_sum(float x) {
  return warp_sum<kRowLanes>(x);
}
/// body(i) of the thread's numbers of `count`.
template <class Body>
__device__ inline void threads(int count, const Body& body) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads)
    body(i);
}

/// Mean and 1 / √(var + eps) of a row.
struct RowNorm {
  float mean, inverse;

  __device__ RowNorm(const float* z, int n) {
    float sum = 0, square = 0;
    lanes(n, [&](int j) { sum += z[j]; });
    mean = row_sum(sum) / static_cast<float>(n);
    lanes(n, [&](int j) { square += (z[j] - mean) * (z[j] - mean); });
    inverse =
        1.0f / sqrtf(row_sum(square) / static_cast<float>(n) + static_cast<float>(kTttNormEps));
  }
  __device__ float operator()(float z) const { return (z - mean) * inverse; }
};

/// store(j, inverse (d - mean d - ẑ mean(d ẑ))) of a row of n; 0 up to `width`. The store may write
/// where d(j) and normed(j) read.
template <class D, class Z, class Store>
__device__ inline void project(int n, int width, float inverse, const D& d, const Z& normed,
                               const Store& store) {
  float mean = 0, along = 0;
  lanes(n, [&](int j) {
    const float x = d(j);
    mean += x;
    along += x * normed(j);
  });
  mean = row_sum(mean) / static_cast<float>(n);
  along = row_sum(along) / static_cast<float>(n);
  lanes(width,
        [&](int j) { store(j, j < n ? inverse * (d(j) - mean - normed(j) * along) : 0.0f); });
}

/// One token of the inner loss: γ, β, k and v.
struct LossRow {
  const float *norm, *norm_bias, *k, *v;
  __device__ float residual(int j, float normed) const {
    return norm[j] * normed + norm_bias[j] - (v[j] - k[j]);
  }
};

/// Rows of one head of N tensors of tokens, from token `first` on; zero beyond `count`. All loads
/// of a round are under way before the first number is stored.
template <int N>
__device__ inline void load_tokens(const Plan& p, const Item& item, const Tile (&to)[N],
                                   const Batched<float> (&from)[N], int first, int count) {
  constexpr int kRows = 2;  // of a warp in a round
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = warp; i < p.rows; i += kRows * kWarps)
    for (int j = lane; j < p.in_padded[0]; j += 32) {
      float numbers[kRows][N];
#pragma unroll
      for (int row = 0; row < kRows; ++row)
#pragma unroll
        for (int n = 0; n < N; ++n) {
          const int token = i + row * kWarps;
          numbers[row][n] = token < count && j < p.in[0]
                                ? *item.at(from[n], first + token, Index{item.head} * p.in[0] + j)
                                : 0.0f;
        }
#pragma unroll
      for (int row = 0; row < kRows; ++row)
#pragma unroll
        for (int n = 0; n < N; ++n)
          to[n](i + row * kWarps, j) = numbers[row][n];
    }
}

/// γ and β.
__device__ inline void load_norms(const Plan& p, const Item& item, const TttViews<float>& in,
                                  float* norm, float* norm_bias) {
  threads(p.in_padded[0], [&](int j) {
    norm[j] = j < p.in[0] ? item.own(in.all[5], 1)[j] : 0.0f;
    norm_bias[j] = j < p.in[0] ? item.own(in.all[6], 1)[j] : 0.0f;
  });
}

/// τ and η of a mini-batch; zero beyond its tokens.
__device__ inline void load_steps(const Plan& p, const Item& item, const TttViews<float>& in,
                                  int first, int count, float* tau, float* eta) {
  const float* step = in.all[4].data + item.replica * in.all[4].replica_stride;
  threads(p.rows, [&](int i) {
    const float weight = i < count ? 1.0f / static_cast<float>(i + 1) + step[i] : 0.0f;
    tau[i] = weight < 0.0f ? 0.0f : weight;  // a NaN stays
    eta[i] = i < count ? p.scale * *item.at(in.all[3], first + i, item.head) : 0.0f;
  });
}

/// Copies a model; both addresses are aligned to 16 bytes. Eight loads are under way at a time.
__device__ inline void copy_model(const Plan& p, const float* from, float* to) {
  constexpr int kBatch = 8;
  const int count = p.model.numbers / 4;
  for (int begin = static_cast<int>(threadIdx.x); begin < count; begin += kBatch * kThreads) {
    float4 numbers[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k)
      if (const int i = begin + k * kThreads; i < count)
        numbers[k] = reinterpret_cast<const float4*>(from)[i];
#pragma unroll
    for (int k = 0; k < kBatch; ++k)
      if (const int i = begin + k * kThreads; i < count)
        reinterpret_cast<float4*>(to)[i] = numbers[k];
  }
}

}  // namespace recallbench::ttt_block
