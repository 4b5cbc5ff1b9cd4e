#pragma once

#include <algorithm>

#include "kernels/label_cross_entropy/label_cross_entropy_cuda.h"

namespace recallbench::fused_head {

constexpr int kOwnRows = 128;   // rows that a block of a pass keeps
constexpr int kTileRows = 64;   // rows that stream past them, at a time, without warpgroups
constexpr int kMostParts = 32;  // of an inner sum: one a lane where they are merged
constexpr int kMagnitudes = 64;
constexpr int kWidest = 256;

/// exp(x - max) and softmax - onehot are products' operands in 16 bits: times 2^kShift fewer of
/// them are subnormal in float16.
constexpr float kShift = 8, kScale = 256;

/// Facts of one replica at the head of its scratch.
struct Facts {
  float weight_unit;  // 1 / Σw
  float to_log2;      // log2(e) of a logit, for one unit of a product of the 16-bit operands
  float h_unit;       // of the 16-bit h
  float table_unit;   // of the 16-bit table
  float magnitudes[2][kMagnitudes];  // of parts of h and of the table
};

/// Sizes, which follow from one replica's shape alone, and where things lie in a replica's scratch,
/// in numbers of float32. Padding rows and columns of the 16-bit operands are zero. Where the
/// passes are those of warpgroups, operands lie in panels of 64 columns, [dim / 64, rows, 64], and
/// in each row of a panel pieces of eight numbers change places by its number modulo 8, as wgmma
/// has them in shared memory.
struct Plan {
  bool warpgroups;
  int rows, vocab, cols;               // M, V, D
  int padded_rows, padded_vocab, dim;  // multiples of kOwnRows; 64, 128 or 256
  int tile_rows;
  int vocab_parts, row_parts;  // of dh's inner sum, of dtable's
  Index h, table;              // 16-bit [padded_rows, dim], [padded_vocab, dim]
  Index part_stats;            // float2 [vocab_parts, padded_rows]
  Index target_stats;          // float2 [padded_rows]
  Index columns;               // float2 [padded_rows]
  Index parts;  // [vocab_parts, padded_rows, dim], later [row_parts, padded_vocab, dim]
  Index size;

  Plan(Index m, Index v, Index d, bool by_warpgroups) : warpgroups(by_warpgroups) {
    rows = static_cast<int>(m), vocab = static_cast<int>(v), cols = static_cast<int>(d);
    padded_rows = padded(rows), padded_vocab = padded(vocab);
    dim = cols <= 64 ? 64 : cols <= 128 ? 128 : kWidest;
    tile_rows = warpgroups ? warpgroup_tile_rows(dim) : kTileRows;
    vocab_parts = parts_of(padded_rows, vocab);
    row_parts = parts_of(padded_vocab, rows);
    Index end = 0;
    const auto place = [&](Index numbers) {
      const Index begin = end;
      end += (numbers + 63) / 64 * 64;  // 256 bytes
      return begin;
    };
    place(sizeof(Facts) / sizeof(float));
    h = place(Index{padded_rows} * dim / 2);
    table = place(Index{padded_vocab} * dim / 2);
    part_stats = place(Index{2} * vocab_parts * padded_rows);
    target_stats = place(Index{2} * padded_rows);
    columns = place(Index{2} * padded_rows);
    parts =
        place(dim * std::max(Index{vocab_parts} * padded_rows, Index{row_parts} * padded_vocab));
    size = end;
  }

  /// A warpgroup's scores and weights of a tile have room in registers beside its result.
  static constexpr int warpgroup_tile_rows(int dim) { return dim <= 128 ? 128 : 64; }

  __host__ __device__ int tiles_of(int n) const { return (n + tile_rows - 1) / tile_rows; }

  /// Where number (row, column) of an operand of `rows` rows is.
  __device__ Index place_of(int rows, int row, int column) const {
    if (!warpgroups) return Index{row} * dim + column;
    return (Index{column / 64} * rows + row) * 64 + ((column % 64) ^ (row % 8 * 8));
  }

 private:
  static int padded(int n) { return (n + kOwnRows - 1) / kOwnRows * kOwnRows; }
  /// One or two blocks for each multiprocessor of a large GPU, where there are tiles for that.
  int parts_of(int own, int streamed) const {
    const int blocks = warpgroups ? 132 : 264;
    return std::clamp(blocks / (own / kOwnRows), 1, std::min(kMostParts, tiles_of(streamed)));
  }
};

/// What the kernels are given.
struct Fused {
  LabelCrossEntropyOnDevice a;
  Plan plan;

  template <class T>
  __device__ T* at(Index replica, Index place) const {
    return reinterpret_cast<T*>(a.scratch + replica * plan.size + place);
  }
  __device__ Facts& facts(Index replica) const { return *at<Facts>(replica, 0); }
};

}  // namespace recallbench::fused_head
