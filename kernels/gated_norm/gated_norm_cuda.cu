// Floor: forward reads x and the gate and writes y, backward reads both and dy and writes two
// gradients, once each (B = 256, L = 256, 128 columns: 101 and 168 MB, 24 and 40 us). A group stays
// in the registers of a few lanes between its sum and its output, and all that a lane reads of it
// is under way at once; backward gathers the weight's gradient of a chunk of groups on the way.
#include "kernels/gated_norm/gated_norm_cuda.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/norm/row_groups.cuh"

namespace recallbench {
namespace {

/// The gate of z: fast forms of e^x and of division, errors of a few 1e-7 (1 + |z|) of it.
struct Gate {
  float z, sigmoid;

  __device__ explicit Gate(float z) : z(z) { sigmoid = __fdividef(1.0f, 1.0f + __expf(-z)); }
  __device__ Gate(float z, float sigmoid) : z(z), sigmoid(sigmoid) {}

  __device__ float value(bool silu) const { return silu ? z * sigmoid : sigmoid; }
  __device__ float slope(bool silu) const {
    return silu ? sigmoid * (1 + z * (1 - sigmoid)) : sigmoid * (1 - sigmoid);
  }
};

/// Blocks that a multiprocessor holds at least: two if a lane has at most kMost numbers of a group.
template <class Tile, int kMost>
constexpr int kBlocks = Tile::kLanes <= 32 && Tile::kItems* Tile::kVec <= kMost ? 2 : 1;

template <class Tile>
__global__ void __launch_bounds__(kNormThreads, kBlocks<Tile, 16>)
    gated_forward(GatedNormCuda norm, std::uint32_t count, std::uint32_t groups, Batched<float> y) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  const Index width = norm.weight.cols;
  const std::uint32_t index = blockIdx.x * Tile::kGroups + Tile::group();
  const bool inside = index < count;  // all lanes stay for the sum
  const RowGroup at(index, groups, width);
  LaneNumbers<Tile> u, z, after = {};
  load_group<Tile>(norm.x, at, width, inside, u);
  load_group<Tile>(norm.gate, at, width, inside, z);
#pragma unroll
  for (int item = 0; item < kItems; ++item)
    if (Tile::column(item) < width)
      load_numbers(norm.weight.data + at.replica * norm.weight.replica_stride + Tile::column(item),
                   after[item]);
  float squares = 0;
#pragma unroll
  for (int item = 0; item < kItems; ++item)
#pragma unroll
    for (int k = 0; k < kVec; ++k) {
      const float gate = Gate(z[item][k]).value(norm.silu);
      after[item][k] *= norm.after_norm ? gate : 1.0f;
      u[item][k] *= norm.after_norm ? 1.0f : gate;
      squares += u[item][k] * u[item][k];
    }
  squares = row_sum<Tile>(squares, sums);
  if (!inside) return;
  const float inverse = 1.0f / sqrtf(squares / static_cast<float>(width) + norm.eps);
  if (threadIdx.x % Tile::kLanes == 0) *at.number(norm.saved) = inverse;
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    if (Tile::column(item) >= width) continue;
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      u[item][k] *= inverse * after[item][k];
    store_numbers(u[item], at.at(y, Tile::column(item)));
  }
}

/// With u = x or x ⊙ a, n = u · inverse and g the gradient of n ⊙ weight:
/// du = inverse (g ⊙ weight - n mean(g ⊙ weight ⊙ n)). A block is a chunk of `chunk` groups and
/// leaves their Σ g ⊙ n in parts [R, chunks, D], unless null.
template <class Tile>
__global__ void __launch_bounds__(kNormThreads, kBlocks<Tile, 8>)
    gated_backward(GatedNormCuda norm, std::uint32_t count, std::uint32_t groups,
                   std::uint32_t chunk, Batched<float> dy, Gradient<float> dx,
                   Gradient<float> dgate, float* parts) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  const Index replica = blockIdx.y, width = norm.weight.cols;
  const float* const weight = norm.weight.data + replica * norm.weight.replica_stride;
  const std::uint32_t first = blockIdx.x * chunk, last = min(first + chunk, count);
  LaneNumbers<Tile> dw = {};
  for (std::uint32_t begin = first; begin < last; begin += Tile::kGroups) {
    const std::uint32_t index = begin + Tile::group();
    const bool inside = index < last;
    const RowGroup at(index, groups, width);
    LaneNumbers<Tile> x, z, d, sigmoid;  // zeros add nothing to any sum
    load_group<Tile>(norm.x, at, width, inside, x);
    load_group<Tile>(norm.gate, at, width, inside, z);
    load_group<Tile>(dy, at, width, inside, d);
    const float inverse = inside ? *at.number(norm.saved) : 0.0f;
    float sum = 0;
#pragma unroll
    for (int item = 0; item < kItems; ++item) {
      float w[kVec] = {};  // from the L1 cache: registers are short
      if (Tile::column(item) < width) load_numbers(weight + Tile::column(item), w);
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const Gate gate(z[item][k]);
        sigmoid[item][k] = gate.sigmoid;
        const float a = gate.value(norm.silu);
        const float normed = x[item][k] * inverse * (norm.after_norm ? 1.0f : a);
        const float g = d[item][k] * (norm.after_norm ? a : 1.0f);
        dw[item][k] += g * normed;
        sum += g * w[k] * normed;
      }
    }
    const float mean = row_sum<Tile>(sum, sums) / static_cast<float>(width);
#pragma unroll
    for (int item = 0; item < kItems; ++item) {
      const Index j = Tile::column(item);
      if (!inside || j >= width) continue;
      float w[kVec];
      load_numbers(weight + j, w);
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const Gate gate(z[item][k], sigmoid[item][k]);
        const float a = gate.value(norm.silu), dn = d[item][k] * w[k];
        const float normed = x[item][k] * inverse * (norm.after_norm ? 1.0f : a);
        const float du = inverse * (dn * (norm.after_norm ? a : 1.0f) - normed * mean);
        z[item][k] = gate.slope(norm.silu) * (norm.after_norm ? dn * normed : du * x[item][k]);
        x[item][k] = norm.after_norm ? du : du * a;
      }
      write_group(dx, at, j, x[item]);
      write_group(dgate, at, j, z[item]);
    }
  }
  if (parts != nullptr)
    sum_groups<Tile>(dw, width, parts + (replica * gridDim.x + blockIdx.x) * width);
}

}  // namespace

Index gated_norm_cuda_scratch(Index replicas, Index groups, Index width) {
  return replicas * norm_chunks(groups) * width;
}

void gated_norm_forward_cuda(const CudaCall& call, const GatedNormCuda& norm,
                             const Batched<float>& y) {
  const Index width = norm.weight.cols;
  const std::uint32_t count = count_groups("gated_norm", y, width);
  const bool quads = all_in_quads(norm.x, norm.gate, norm.weight, y);
  with_row_tile(width, quads, [&](auto tile) {
    using Tile = decltype(tile);
    cuda_launch("gated_norm_forward", gated_forward<Tile>,
                {group_blocks(count, Tile::kGroups, y.replicas), kNormThreads, 0, call.stream},
                norm, count, static_cast<std::uint32_t>(y.cols / width), y);
  });
}

void gated_norm_backward_cuda(const CudaCall& call, const GatedNormCuda& norm,
                              const Batched<float>& dy, const GatedNormCudaGradients& gradients,
                              float* scratch) {
  const Index width = norm.weight.cols, replicas = dy.replicas;
  const std::uint32_t count = count_groups("gated_norm", dy, width);
  const Index chunk = norm_chunk_rows(count);
  float* parts = gradients.weight.wanted ? scratch : nullptr;
  const bool quads =
      all_in_quads(norm.x, norm.gate, norm.weight, dy, gradients.x.view, gradients.gate.view);
  with_row_tile(width, quads, [&](auto tile) {
    cuda_launch("gated_norm_backward", gated_backward<decltype(tile)>,
                {group_blocks(count, chunk, replicas), kNormThreads, 0, call.stream}, norm, count,
                static_cast<std::uint32_t>(dy.cols / width), static_cast<std::uint32_t>(chunk), dy,
                gradients.x, gradients.gate, parts);
  });
  sum_partials_cuda(call, replicas, {parts, norm_chunks(count), width, 0, gradients.weight, {}});
}

}  // namespace recallbench
