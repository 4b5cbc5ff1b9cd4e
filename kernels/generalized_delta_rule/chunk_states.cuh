#pragma once

// How a chunk's state, and the gradient of it, leave the registers of the warp that has them
// (chunks.cuh), and how other warps come to them.

#include "kernels/generalized_delta_rule/chunks.cuh"

namespace recallbench {

/// Whether a state is kept in the order of chunk_state_place, not by rows: the sizes say it alone,
/// since forward and backward must agree.
__device__ inline bool chunk_in_pieces(int keys, int values) {
  return keys == kChunkHead && values == kChunkHead;
}
/// Pieces of 64 numbers, of eight keys and eight values: key 2t + e and value g at [e][t][g]. A
/// warp of forward writes lines of such a piece, one of backward reads it whole.
__device__ inline int chunk_state_place(int eight_values, int eight_keys, int e, int t, int g) {
  return ((eight_values * (kChunkHead / 8) + eight_keys) * 2 + e) * 32 + t * 8 + g;
}

/// The state [keys, values], of which a lane has the values g and g + 8 of its warp's.
__device__ __forceinline__ void chunk_keep(const ChunkMatrix& state, float* to, int keys,
                                           int values) {
  const int g = lane_row(), t = lane_column(), value = chunk_warp() * kChunkSlice + g;
  const bool pieces = chunk_in_pieces(keys, values);
#pragma unroll
  for (int n = 0; n < kChunkHead / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int key = 8 * n + 2 * t + e % 2, other = value + e / 2 * 8;
      if (pieces)
        to[chunk_state_place(2 * chunk_warp() + e / 2, n, e % 2, t, g)] = state[n][e];
      else if (key < keys && other < values)
        to[key * values + other] = state[n][e];
    }
}

/// G' rounded, for products over values. Of every other four keys, each eight values and the next
/// are exchanged, so that a warp's numbers find 32 banks.
__device__ __forceinline__ void chunk_put_gradient(const ChunkMatrix& gradient, float* rows) {
  float* place = rows + 2 * lane_column() * kChunkStride + lane_row();
#pragma unroll
  for (int n = 0; n < kChunkHead / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      place[(8 * n + e % 2) * kChunkStride + (lane_column() / 2 * 8 ^ e / 2 * 8)] =
          chunk_rounded(gradient[n][e]);
}
/// The values 2t and 2t + 1 of eight from `column` on, of the key g after `key`.
__device__ __forceinline__ void chunk_get_gradient(const float* rows, int key, int column,
                                                   float (&g)[2]) {
  const int exchanged = (column ^ lane_row() / 4 * 8) + 2 * lane_column();
  load_numbers(rows + (key + lane_row()) * kChunkStride + exchanged, g);
}

/// Of S before a chunk, a warp's keys: of the keys g and g + 8 the values 2t and 2t + 1 of eight.
using ChunkKeyRows = float[kChunkHead / 8][2][2];

__device__ __forceinline__ void chunk_load_state(const float* from, ChunkKeyRows& to, int keys,
                                                 int values, bool quads) {
#pragma unroll
  for (int n = 0; n < kChunkHead / 8; ++n)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int g = lane_row(), key = chunk_warp() * kChunkSlice + g + 8 * h;
      const int column = 8 * n + 2 * lane_column();
      const int count = from != nullptr && key < keys ? values - column : 0;
      const float* place =
          from + (chunk_in_pieces(keys, values)
                      ? chunk_state_place(n, 2 * chunk_warp() + h, g % 2, g / 2, 2 * lane_column())
                      : key * values + column);
      to[n][h][0] = to[n][h][1] = 0;
      if (quads) {
        if (count > 0) load_numbers(place, to[n][h]);
      } else {
        if (count > 0) to[n][h][0] = place[0];
        if (count > 1) to[n][h][1] = place[1];
      }
    }
}

}  // namespace recallbench
