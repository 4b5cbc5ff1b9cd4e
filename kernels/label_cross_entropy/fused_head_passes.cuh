#pragma once

// The two passes over all pairs (row of h, word of the table), by mma.sync. Each block keeps 128
// rows of one operand in shared memory and their result in registers, while rows of the other
// stream past, 64 at a time, double-buffered. A tile serves two products: scores with the rows
// kept, and, by the weights that come of the scores, the result. The scores never leave the
// registers.

#include "kernels/cuda/launch.cuh"
#include "kernels/label_cross_entropy/fused_head_softmax.cuh"

namespace recallbench::fused_head {

/// How a block shares its kept rows out: a warp has as many as leave its results, [rows, kDim], in
/// 128 registers a thread.
template <int kDim>
struct WarpShape {
  static constexpr int kFragments = kDim <= 128 ? 2 : 1;  // of 16 rows
  static constexpr int kRows = 16 * kFragments;
  static constexpr int kThreads = kOwnRows / kRows * 32;
  static constexpr int kBlocks = 256 / kThreads;  // on a multiprocessor, as registers allow
};

template <int kDim>
struct Shared {
  static constexpr int kRowBytes = 2 * kDim;
  static constexpr int kOwn = 0, kTile = kOwnRows * kRowBytes;
  static constexpr int kTileBytes = kTileRows * kRowBytes;
  static constexpr int kColumns = kTile + 2 * kTileBytes;
  static constexpr int kColumnBytes = kTileRows * static_cast<int>(sizeof(Column));
  static constexpr int kSize = kColumns + 2 * kColumnBytes;
};

/// Begins to copy `kRows` rows that lie side by side. Pieces of 16 bytes change places within a
/// row, by its number modulo 8, so that load_matrices meets every bank once.
template <int kRows, int kDim>
__device__ inline void copy_rows(std::uint32_t to, const void* from) {
  constexpr int kPieces = kDim / 8, kThreads = WarpShape<kDim>::kThreads;
  const char* bytes = static_cast<const char*>(from);
#pragma unroll
  for (int k = 0; k < kRows * kPieces / kThreads; ++k) {
    const int piece = static_cast<int>(threadIdx.x) + k * kThreads;
    const int row = piece / kPieces, column = piece % kPieces;
    copy_16_bytes(to + (row * kPieces + (column ^ (row % 8))) * 16, bytes + piece * 16);
  }
}

/// One warp's kept rows against tiles: m16 fragment m holds rows 16 m to 16 m + 15.
template <class E, int kDim>
class WarpProducts {
 public:
  static constexpr int kRowBytes = Shared<kDim>::kRowBytes;
  static constexpr int kFragments = WarpShape<kDim>::kFragments;
  static constexpr int kWarpRows = WarpShape<kDim>::kRows;
  using Scores = Fragments<kFragments, kTileRows / 8>;
  using Result = Fragments<kFragments, kDim / 8>;

  __device__ explicit WarpProducts(std::uint32_t shared) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, swap = lane % 8;
    own_ = shared + (warp * kWarpRows + lane % 16) * kRowBytes + ((lane / 16) ^ swap) * 16;
    tile_ = shared + Shared<kDim>::kTile + (lane % 8 + lane / 16 * 8) * kRowBytes +
            ((lane / 8 % 2) ^ swap) * 16;
    transposed_ = shared + Shared<kDim>::kTile + lane % 16 * kRowBytes + ((lane / 16) ^ swap) * 16;
  }

  /// s = kept rows · tileᵀ.
  __device__ void scores(int stage, Scores& s) const {
    const std::uint32_t tile = tile_ + stage * Shared<kDim>::kTileBytes;
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
#pragma unroll
      for (int n = 0; n < kTileRows / 8; ++n)
        s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0;
#pragma unroll
    for (int k = 0; k < kDim / 16; ++k) {
      std::uint32_t a[kFragments][4];
#pragma unroll
      for (int m = 0; m < kFragments; ++m)
        load_matrices(a[m], (own_ + m * 16 * kRowBytes) ^ (32 * k));
#pragma unroll
      for (int n = 0; n < kTileRows / 16; ++n) {
        std::uint32_t b[4];
        load_matrices(b, (tile ^ (32 * k)) + n * 16 * kRowBytes);
#pragma unroll
        for (int m = 0; m < kFragments; ++m) {
          mma<E>(s[m][2 * n], a[m], b[0], b[1]);
          mma<E>(s[m][2 * n + 1], a[m], b[2], b[3]);
        }
      }
    }
  }

  /// result += p · tile, p rounded to E.
  __device__ void add_weighted(int stage, const Scores& p, Result& result) const {
    const std::uint32_t tile = transposed_ + stage * Shared<kDim>::kTileBytes;
#pragma unroll
    for (int k = 0; k < kTileRows / 16; ++k) {
      std::uint32_t a[kFragments][4];
#pragma unroll
      for (int m = 0; m < kFragments; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          a[m][2 * half] = pack<E>(p[m][2 * k + half][0], p[m][2 * k + half][1]);
          a[m][2 * half + 1] = pack<E>(p[m][2 * k + half][2], p[m][2 * k + half][3]);
        }
#pragma unroll
      for (int d = 0; d < kDim / 16; ++d) {
        std::uint32_t b[4];
        load_transposed(b, (tile ^ (32 * d)) + k * 16 * kRowBytes);
#pragma unroll
        for (int m = 0; m < kFragments; ++m) {
          mma<E>(result[m][2 * d], a[m], b[0], b[1]);
          mma<E>(result[m][2 * d + 1], a[m], b[2], b[3]);
        }
      }
    }
  }

  /// The kept row, within the block, of result[m][.][2 half] and [2 half + 1].
  __device__ static int row(int m, int half) {
    return static_cast<int>(threadIdx.x) / 32 * kWarpRows + m * 16 + half * 8 +
           static_cast<int>(threadIdx.x) % 32 / 4;
  }
  /// Column of s[.][0][0] and result[.][0][0]; [n] is 8 n further.
  __device__ static int column() {
    return 2 * (threadIdx.x % 4);
  }

  /// Writes the block's rows of the result, side by side.
  __device__ static void store(const Result& result, float* to) {
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int d = 0; d < kDim / 8; ++d)
          *reinterpret_cast<float2*>(to + row(m, half) * kDim + 8 * d + column()) =
              make_float2(result[m][d][2 * half], result[m][d][2 * half + 1]);
  }

 private:
  std::uint32_t own_, tile_, transposed_;
};

/// Rows of h are kept, the table streams past: a part's running softmax, as in attention with the
/// table for keys and values.
///   part_stats = {largest score, Σ 2^(kShift + to_log2 (score - largest))},
///   parts = Σ_v of these weights · table[v],
///   target_stats = {target's score, largest one before it in this part}.
template <class E, int kDim, bool kGradient>
__global__ void __launch_bounds__(WarpShape<kDim>::kThreads, WarpShape<kDim>::kBlocks)
    row_pass(const __grid_constant__ Fused f) {
  after_previous();
  extern __shared__ __align__(512) char shared_bytes[];
  using Products = WarpProducts<E, kDim>;
  constexpr int kFragments = WarpShape<kDim>::kFragments, kRows = 2 * kFragments;
  const Plan& plan = f.plan;
  const int tiles = plan.tiles_of(plan.vocab);
  const Share share(blockIdx.x, plan.padded_rows / kOwnRows, plan.vocab_parts, tiles);
  const std::uint32_t shared = shared_address(shared_bytes);
  const E* table = f.at<E>(share.replica, plan.table);
  const auto begin_tile = [&](int tile) {
    copy_rows<kTileRows, kDim>(
        shared + Shared<kDim>::kTile + (tile - share.first) % 2 * Shared<kDim>::kTileBytes,
        table + Index{tile} * kTileRows * kDim);
  };
  const int first_row = share.own * kOwnRows;
  copy_rows<kOwnRows, kDim>(shared, f.at<E>(share.replica, plan.h) + Index{first_row} * kDim);
  begin_tile(share.first);

  const Products products(shared);
  const float to_log2 = f.facts(share.replica).to_log2;
  const int column = Products::column();
  float2* target_stats = f.at<float2>(share.replica, plan.target_stats) + first_row;
  RunningSoftmax<kRows> rows;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int row = first_row + Products::row(r / 2, r % 2);
    rows.largest[r] = -INFINITY;
    rows.sum[r] = 0;
    rows.target[r] = row < plan.rows ? f.a.targets[share.replica * plan.rows + row] : -1;
  }
  [[maybe_unused]] typename Products::Result result = {};
  for (int tile = share.first; tile < share.last; ++tile) {
    wait_for_copies();
    __syncthreads();  // this tile is here, and nobody reads the other buffer any more
    if (tile + 1 < share.last) begin_tile(tile + 1);
    const int stage = (tile - share.first) % 2, word = tile * kTileRows;
    typename Products::Scores s;
    products.scores(stage, s);
    if (word + kTileRows > plan.vocab)
      drop_from<kFragments, kTileRows / 8>(plan.vocab - word, s, column);
    float largest[kRows], factor[kRows];
    const bool grew = find_largest<kFragments, kTileRows / 8>(
        rows, s, word, column, largest,
        [&](int r, float2 stats) { target_stats[Products::row(r / 2, r % 2)] = stats; });
    if (grew) {
      grow_to(rows, largest, to_log2, factor);
      if constexpr (kGradient) {
#pragma unroll
        for (int m = 0; m < kFragments; ++m)
          shrink(result[m], factor[2 * m], factor[2 * m + 1]);
      }
    }
    weigh<kFragments, kTileRows / 8>(rows, to_log2, s);
    if constexpr (kGradient) products.add_weighted(stage, s, result);
  }

  const Index part_row = Index{share.part} * plan.padded_rows + first_row;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float sum = warp_sum<4>(rows.sum[r]);
    if (column == 0)
      f.at<float2>(share.replica, plan.part_stats)[part_row + Products::row(r / 2, r % 2)] =
          make_float2(rows.largest[r], sum);
  }
  if constexpr (kGradient)
    Products::store(result, f.at<float>(share.replica, plan.parts) + part_row * kDim);
}

/// Words of the table are kept, rows of h stream past:
///   parts = 2^kShift Σ_i w_i (softmax_i[v] - [v = target_i]) h[i] over a part of the rows.
template <class E, int kDim>
__global__ void __launch_bounds__(WarpShape<kDim>::kThreads, WarpShape<kDim>::kBlocks)
    table_pass(const __grid_constant__ Fused f) {
  after_previous();
  extern __shared__ __align__(512) char shared_bytes[];
  using Products = WarpProducts<E, kDim>;
  const Plan& plan = f.plan;
  const int tiles = plan.tiles_of(plan.rows);
  const Share share(blockIdx.x, plan.padded_vocab / kOwnRows, plan.row_parts, tiles);
  const std::uint32_t shared = shared_address(shared_bytes);
  const E* h = f.at<E>(share.replica, plan.h);
  const Column* columns = f.at<Column>(share.replica, plan.columns);
  const auto begin_tile = [&](int tile) {
    const int stage = (tile - share.first) % 2;
    copy_rows<kTileRows, kDim>(shared + Shared<kDim>::kTile + stage * Shared<kDim>::kTileBytes,
                               h + Index{tile} * kTileRows * kDim);
    if (threadIdx.x < Shared<kDim>::kColumnBytes / 16)
      copy_16_bytes(
          shared + Shared<kDim>::kColumns + stage * Shared<kDim>::kColumnBytes + 16 * threadIdx.x,
          columns + tile * kTileRows + 2 * threadIdx.x);
  };
  const int first_word = share.own * kOwnRows;
  copy_rows<kOwnRows, kDim>(shared, f.at<E>(share.replica, plan.table) + Index{first_word} * kDim);
  begin_tile(share.first);

  const Products products(shared);
  const float to_log2 = f.facts(share.replica).to_log2;
  const int warp_word = first_word + static_cast<int>(threadIdx.x) / 32 * WarpShape<kDim>::kRows;
  typename Products::Result result = {};
  for (int tile = share.first; tile < share.last; ++tile) {
    wait_for_copies();
    __syncthreads();  // this tile is here, and nobody reads the other buffer any more
    if (tile + 1 < share.last) begin_tile(tile + 1);
    const int stage = (tile - share.first) % 2;
    typename Products::Scores s;
    products.scores(stage, s);
    weigh_columns<WarpShape<kDim>::kFragments, kTileRows / 8>(
        reinterpret_cast<const Column*>(shared_bytes + Shared<kDim>::kColumns +
                                        stage * Shared<kDim>::kColumnBytes),
        f.a.weights + share.replica * plan.rows + tile * kTileRows, to_log2, warp_word, s);
    products.add_weighted(stage, s, result);
  }
  Products::store(result, f.at<float>(share.replica, plan.parts) +
                              (Index{share.part} * plan.padded_vocab + first_word) * kDim);
}

}  // namespace recallbench::fused_head
