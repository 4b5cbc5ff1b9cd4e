// Floor: forward reads o, r, k, v and writes y, backward reads r, k, v, dy and writes four
// gradients, once each (B = 256, L = 256, 128 columns: 168 and 268 MB, 40 and 64 us). A head stays
// in the registers of a few lanes between its sum and its output; a block of backward has one head
// of a chunk of rows, so that a lane adds up the weight's gradient of its own columns on the way.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/norm/row_groups.cuh"
#include "kernels/token_bonus/token_bonus_cuda.h"

namespace recallbench {
namespace {

/// The weight of the group's head from `column` on: rows of [R, H, n] lie side by side.
template <int kVec>
__device__ void load_weight(const Batched<float>& weight, const RowGroup& at, Index column,
                            float (&to)[kVec]) {
  load_numbers(weight.data + at.replica * weight.replica_stride + at.first + column, to);
}

/// The lane's part of Σ_c r[c] k[c] weight[c]; what lies beyond the group is zero in r and k.
template <class Tile>
__device__ float agreement(const Batched<float>& weight, const RowGroup& at,
                           const LaneNumbers<Tile>& r, const LaneNumbers<Tile>& k) {
  float sum = 0;
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item) {
    float w[Tile::kVec] = {};
    if (Tile::column(item) < weight.cols) load_weight(weight, at, Tile::column(item), w);
#pragma unroll
    for (int c = 0; c < Tile::kVec; ++c)
      sum += r[item][c] * k[item][c] * w[c];
  }
  return sum;
}

template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    bonus_forward(TokenBonusViews<float> in, std::uint32_t count, Batched<float> y) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  const Index width = in.weight.cols;
  const auto heads = static_cast<std::uint32_t>(in.weight.rows);
  const std::uint32_t index = blockIdx.x * Tile::kGroups + Tile::group();
  const bool inside = index < count;  // all lanes stay for the sum
  const RowGroup at(index, heads, width);
  LaneNumbers<Tile> r, k, v, o;
  load_group<Tile>(in.r, at, width, inside, r);
  load_group<Tile>(in.k, at, width, inside, k);
  load_group<Tile>(in.v, at, width, inside, v);
  load_group<Tile>(in.o, at, width, inside, o);
  const float s = row_sum<Tile>(agreement<Tile>(in.weight, at, r, k), sums);
  if (!inside) return;
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item) {
    if (Tile::column(item) >= width) continue;
#pragma unroll
    for (int c = 0; c < Tile::kVec; ++c)
      o[item][c] += s * v[item][c];
    store_numbers(o[item], at.at(y, Tile::column(item)));
  }
}

/// What one head of one row gives back, from `column` on: with s the agreement and ds = <dy, v>,
///   do = dy,  dv = s dy,  dr = ds k ⊙ weight,  dk = ds r ⊙ weight.
template <int kVec>
__device__ void write_gradients(const TokenBonusGradients<float>& out, const RowGroup& at,
                                Index column, float s, float ds, const float (&w)[kVec],
                                const float (&r)[kVec], const float (&k)[kVec],
                                const float (&d)[kVec]) {
  float dr[kVec], dk[kVec], dv[kVec];
#pragma unroll
  for (int c = 0; c < kVec; ++c) {
    dr[c] = ds * k[c] * w[c];
    dk[c] = ds * r[c] * w[c];
    dv[c] = s * d[c];
  }
  write_group(out.o, at, column, d);
  write_group(out.r, at, column, dr);
  write_group(out.k, at, column, dk);
  write_group(out.v, at, column, dv);
}

/// blockIdx.x: the head, then the chunk of `chunk` rows; dweight = Σ ds r ⊙ k over the chunk goes
/// to parts [R, chunks, D], unless null.
template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    bonus_backward(TokenBonusViews<float> in, Batched<float> dy, TokenBonusGradients<float> out,
                   std::uint32_t chunk, float* parts) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  const Index width = in.weight.cols;
  const auto heads = static_cast<std::uint32_t>(in.weight.rows);
  const std::uint32_t head = blockIdx.x % heads, first = blockIdx.x / heads * chunk;
  const std::uint32_t last = min(first + chunk, static_cast<std::uint32_t>(dy.rows));
  LaneNumbers<Tile> dweight = {};
  for (std::uint32_t begin = first; begin < last; begin += Tile::kGroups) {
    const std::uint32_t row = begin + Tile::group();
    const bool inside = row < last;
    const RowGroup at(row * heads + head, heads, width);
    LaneNumbers<Tile> r, k, v, d;
    load_group<Tile>(in.r, at, width, inside, r);
    load_group<Tile>(in.k, at, width, inside, k);
    load_group<Tile>(in.v, at, width, inside, v);
    load_group<Tile>(dy, at, width, inside, d);
    float along = 0;
#pragma unroll
    for (int item = 0; item < Tile::kItems; ++item)
#pragma unroll
      for (int c = 0; c < Tile::kVec; ++c)
        along += d[item][c] * v[item][c];
    const float s = row_sum<Tile>(agreement<Tile>(in.weight, at, r, k), sums);
    const float ds = row_sum<Tile>(along, sums);
#pragma unroll
    for (int item = 0; item < Tile::kItems; ++item) {
      const Index column = Tile::column(item);
#pragma unroll
      for (int c = 0; c < Tile::kVec; ++c)
        dweight[item][c] += ds * r[item][c] * k[item][c];
      if (!inside || column >= width) continue;
      float w[Tile::kVec];
      load_weight(in.weight, at, column, w);
      write_gradients(out, at, column, s, ds, w, r[item], k[item], d[item]);
    }
  }
  if (parts != nullptr)
    sum_groups<Tile>(dweight, width, parts + (blockIdx.y * Index{gridDim.x} + blockIdx.x) * width);
}

}  // namespace

Index token_bonus_cuda_scratch(Index replicas, Index rows, Index cols) {
  return replicas * norm_chunks(rows) * cols;
}

void token_bonus_forward_cuda(const CudaCall& call, const TokenBonusViews<float>& in,
                              const Batched<float>& y) {
  const Index width = in.weight.cols;
  const std::uint32_t count = count_groups("token_bonus", y, width);
  with_row_tile(width, all_in_quads(in.weight, in.o, in.r, in.k, in.v, y), [&](auto tile) {
    using Tile = decltype(tile);
    cuda_launch("token_bonus_forward", bonus_forward<Tile>,
                {group_blocks(count, Tile::kGroups, y.replicas), kNormThreads, 0, call.stream}, in,
                count, y);
  });
}

void token_bonus_backward_cuda(const CudaCall& call, const TokenBonusViews<float>& in,
                               const Batched<float>& dy, const TokenBonusGradients<float>& out,
                               float* scratch) {
  const Index width = in.weight.cols, heads = in.weight.rows, replicas = dy.replicas;
  count_groups("token_bonus", dy, width);
  const Index chunks = norm_chunks(dy.rows), chunk = norm_chunk_rows(dy.rows);
  float* parts = out.weight.wanted ? scratch : nullptr;
  const bool quads =
      all_in_quads(in.weight, in.r, in.k, in.v, dy, out.o.view, out.r.view, out.k.view, out.v.view);
  const dim3 blocks(static_cast<unsigned>(chunks * heads), static_cast<unsigned>(replicas));
  with_row_tile(width, quads, [&](auto tile) {
    cuda_launch("token_bonus_backward", bonus_backward<decltype(tile)>,
                {blocks, kNormThreads, 0, call.stream}, in, dy, out,
                static_cast<std::uint32_t>(chunk), parts);
  });
  sum_partials_cuda(call, replicas, {parts, chunks, heads * width, 0, out.weight, {}});
}

}  // namespace recallbench
