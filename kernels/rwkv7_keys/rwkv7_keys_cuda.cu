// Floor: forward reads k and the logits and writes both keys and the rates, backward reads k, the
// logits and three gradients and writes two, once each (B = 256, L = 256, 128 columns: 168 and 235
// MB, 40 and 56 us). A head stays in the registers of a few lanes between its sum and its output; a
// block of backward has one head of a chunk of rows, so that a lane adds up the gradients of k_k
// and k_a of its own columns on the way.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/norm/row_groups.cuh"
#include "kernels/rwkv7_keys/rwkv7_keys_cuda.h"

namespace recallbench {
namespace {

constexpr float kEps = 1e-6f;

/// a in place of the logits.
template <class Tile>
__device__ void make_rates(LaneNumbers<Tile>& logits) {
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item)
#pragma unroll
    for (float& x : logits[item])
      x = sigmoid(x);
}

/// k_k or k_a of the group's columns from `column` on, which must exist.
template <int kVec>
__device__ void load_channels(const Batched<float>& from, const RowGroup& at, Index column,
                              float (&to)[kVec]) {
  load_numbers(from.data + at.replica * from.replica_stride + at.first + column, to);
}

template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    keys_forward(Rwkv7KeyViews<float> in, std::uint32_t count, std::uint32_t heads, Index width,
                 Rwkv7KeyOutputs<float> out) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  const std::uint32_t index = blockIdx.x * Tile::kGroups + Tile::group();
  const bool inside = index < count;  // all lanes stay for the sum
  const RowGroup at(index, heads, width);
  LaneNumbers<Tile> k, a, z = {};
  load_group<Tile>(in.k, at, width, inside, k);
  load_group<Tile>(in.logit, at, width, inside, a);
  make_rates<Tile>(a);
  float squares = 0;
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item) {
    if (Tile::column(item) < width) load_channels(in.k_k, at, Tile::column(item), z[item]);
#pragma unroll
    for (int c = 0; c < Tile::kVec; ++c) {
      z[item][c] *= k[item][c];
      squares += z[item][c] * z[item][c];
    }
  }
  const float inverse = 1.0f / sqrtf(row_sum<Tile>(squares, sums) + kEps);
  if (!inside) return;
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item) {
    const Index column = Tile::column(item);
    if (column >= width) continue;
    float k_a[Tile::kVec];
    load_channels(in.k_a, at, column, k_a);
#pragma unroll
    for (int c = 0; c < Tile::kVec; ++c) {
      z[item][c] *= inverse;
      k[item][c] *= 1 + (a[item][c] - 1) * k_a[c];
    }
    store_numbers(z[item], at.at(out.removal, column));
    store_numbers(k[item], at.at(out.replacement, column));
    store_numbers(a[item], at.at(out.rate, column));
  }
}

/// With dz = inverse (dκ - κ <κ, dκ>), the gradient of z = k ⊙ k_k, from `column` on:
///   dk = dz ⊙ k_k + dk' ⊙ (1 + (a - 1) ⊙ k_a),  da += dk' ⊙ k ⊙ k_a,
///   dk_k += dz ⊙ k,  dk_a += dk' ⊙ k ⊙ (a - 1),
/// and da ⊙ a ⊙ (1 - a) is the logits'.
template <int kVec>
__device__ void columns_back(const Rwkv7KeyViews<float>& in, const Rwkv7KeyGradients<float>& out,
                             const RowGroup& at, Index column, float inverse, float along,
                             const float (&k)[kVec], const float (&a)[kVec],
                             const float (&dremoval)[kVec], const float (&dreplacement)[kVec],
                             const float (&drate)[kVec], float (&dk_k)[kVec], float (&dk_a)[kVec]) {
  float k_k[kVec], k_a[kVec], dk[kVec], dlogit[kVec];
  load_channels(in.k_k, at, column, k_k);
  load_channels(in.k_a, at, column, k_a);
#pragma unroll
  for (int c = 0; c < kVec; ++c) {
    const float dz = inverse * (dremoval[c] - k[c] * k_k[c] * inverse * along);
    dk[c] = dz * k_k[c] + dreplacement[c] * (1 + (a[c] - 1) * k_a[c]);
    dlogit[c] = (drate[c] + dreplacement[c] * k[c] * k_a[c]) * (a[c] * (1 - a[c]));
    dk_k[c] += dz * k[c];
    dk_a[c] += dreplacement[c] * k[c] * (a[c] - 1);
  }
  write_group(out.k, at, column, dk);
  write_group(out.logit, at, column, dlogit);
}

/// blockIdx.x: the head, then the chunk of `chunk` rows, whose shares of the gradients of k_k and
/// k_a go to parts [R, chunks, 2, D], unless null.
template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    keys_backward(Rwkv7KeyViews<float> in, std::uint32_t heads, Index width,
                  Rwkv7KeyOutputs<float> gradients, Rwkv7KeyGradients<float> out,
                  std::uint32_t chunk, float* parts) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  const std::uint32_t head = blockIdx.x % heads, first = blockIdx.x / heads * chunk;
  const std::uint32_t last = min(first + chunk, static_cast<std::uint32_t>(in.k.rows));
  LaneNumbers<Tile> dk_k = {}, dk_a = {};
  for (std::uint32_t begin = first; begin < last; begin += Tile::kGroups) {
    const std::uint32_t row = begin + Tile::group();
    const bool inside = row < last;
    const RowGroup at(row * heads + head, heads, width);
    LaneNumbers<Tile> k, a, d, dwritten, drate;
    load_group<Tile>(in.k, at, width, inside, k);
    load_group<Tile>(gradients.removal, at, width, inside, d);
    load_group<Tile>(in.logit, at, width, inside, a);
    load_group<Tile>(gradients.replacement, at, width, inside, dwritten);
    load_group<Tile>(gradients.rate, at, width, inside, drate);
    make_rates<Tile>(a);
    float squares = 0, along = 0;  // Σ z², <z, dκ>
#pragma unroll
    for (int item = 0; item < Tile::kItems; ++item) {
      float z[Tile::kVec] = {};
      if (Tile::column(item) < width) load_channels(in.k_k, at, Tile::column(item), z);
#pragma unroll
      for (int c = 0; c < Tile::kVec; ++c) {
        z[c] *= k[item][c];
        squares += z[c] * z[c];
        along += z[c] * d[item][c];
      }
    }
    const float inverse = 1.0f / sqrtf(row_sum<Tile>(squares, sums) + kEps);
    along = row_sum<Tile>(along, sums) * inverse;
#pragma unroll
    for (int item = 0; item < Tile::kItems; ++item)
      if (inside && Tile::column(item) < width)
        columns_back(in, out, at, Tile::column(item), inverse, along, k[item], a[item], d[item],
                     dwritten[item], drate[item], dk_k[item], dk_a[item]);
  }
  if (parts == nullptr) return;
  const Index chunks = gridDim.x / heads, part = blockIdx.y * chunks + blockIdx.x / heads;
  sum_groups<Tile>(dk_k, width, parts + (2 * part * heads + head) * width);
  sum_groups<Tile>(dk_a, width, parts + ((2 * part + 1) * heads + head) * width);
}

}  // namespace

Index rwkv7_keys_cuda_scratch(Index replicas, Index rows, Index cols) {
  return replicas * norm_chunks(rows) * 2 * cols;
}

void rwkv7_keys_forward_cuda(const CudaCall& call, Index heads, const Rwkv7KeyViews<float>& in,
                             const Rwkv7KeyOutputs<float>& out) {
  const Index width = in.k.cols / heads;
  const std::uint32_t count = count_groups("rwkv7_keys", in.k, width);
  const bool quads = width % 4 == 0 && all_in_quads(in.k, in.logit, in.k_k, in.k_a, out.removal,
                                                    out.replacement, out.rate);
  with_row_tile(width, quads, [&](auto tile) {
    using Tile = decltype(tile);
    cuda_launch("rwkv7_keys_forward", keys_forward<Tile>,
                {group_blocks(count, Tile::kGroups, in.k.replicas), kNormThreads, 0, call.stream},
                in, count, static_cast<std::uint32_t>(heads), width, out);
  });
}

void rwkv7_keys_backward_cuda(const CudaCall& call, Index heads, const Rwkv7KeyViews<float>& in,
                              const Rwkv7KeyOutputs<float>& d, const Rwkv7KeyGradients<float>& out,
                              float* scratch) {
  const Index cols = in.k.cols, width = cols / heads, replicas = in.k.replicas;
  count_groups("rwkv7_keys", in.k, width);
  const Index chunks = norm_chunks(in.k.rows), chunk = norm_chunk_rows(in.k.rows);
  float* parts = out.k_k.wanted || out.k_a.wanted ? scratch : nullptr;
  const bool quads =
      width % 4 == 0 && all_in_quads(in.k, in.logit, in.k_k, in.k_a, d.removal, d.replacement,
                                     d.rate, out.k.view, out.logit.view);
  const dim3 blocks(static_cast<unsigned>(chunks * heads), static_cast<unsigned>(replicas));
  with_row_tile(width, quads, [&](auto tile) {
    cuda_launch("rwkv7_keys_backward", keys_backward<decltype(tile)>,
                {blocks, kNormThreads, 0, call.stream}, in, static_cast<std::uint32_t>(heads),
                width, d, out, static_cast<std::uint32_t>(chunk), parts);
  });
  sum_partials_cuda(call, replicas, {parts, chunks, cols, cols, out.k_k, out.k_a});
}

}  // namespace recallbench
