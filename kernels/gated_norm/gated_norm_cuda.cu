// Floor: forward reads x and the gate and writes y, backward reads both and dy and writes two
// gradients, once each (B = 256, L = 256, 128 columns: 101 and 168 MB, 24 and 40 us). A group stays
// in the registers of a few lanes between its sum and its output; backward gathers the weight's
// gradient of a chunk of groups on the way.
#include "kernels/gated_norm/gated_norm_cuda.h"

#include "kernels/cuda/partial_sums.h"
#include "kernels/norm/row_groups.cuh"

namespace recallbench {
namespace {

struct Gate {
  float value, slope;
  __device__ Gate(bool silu, float z) {
    const float sigmoid = 1.0f / (1.0f + expf(-z));
    value = silu ? z * sigmoid : sigmoid;
    slope = silu ? sigmoid * (1 + z * (1 - sigmoid)) : sigmoid * (1 - sigmoid);
  }
};

template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    gated_forward(GatedNormCuda norm, std::uint32_t count, std::uint32_t groups, Batched<float> y) {
  __shared__ float sums[kNormThreads / 32];
  constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  const Index width = norm.weight.cols;
  const std::uint32_t index = blockIdx.x * Tile::kGroups + Tile::group();
  const bool inside = index < count;  // all lanes stay for the sum
  const RowGroup at(index, groups, width);
  float u[kItems][kVec] = {}, after[kItems][kVec], squares = 0;
#pragma unroll
  for (int item = 0; item < kItems; ++item) {
    const Index j = Tile::column(item);
    if (!inside || j >= width) continue;
    float z[kVec];
    load_numbers(at.at(norm.x, j), u[item]);
    load_numbers(at.at(norm.gate, j), z);
    load_numbers(norm.weight.data + at.replica * norm.weight.replica_stride + j, after[item]);
#pragma unroll
    for (int k = 0; k < kVec; ++k) {
      const float gate = Gate(norm.silu, z[k]).value;
      after[item][k] *= norm.after_norm ? gate : 1.0f;
      u[item][k] *= norm.after_norm ? 1.0f : gate;
      squares += u[item][k] * u[item][k];
    }
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

/// What a lane has of a group on its way back: first the inputs, then the gradients in place of
/// them.
template <class Tile>
struct Numbers {
  float x[Tile::kItems][Tile::kVec], z[Tile::kItems][Tile::kVec], d[Tile::kItems][Tile::kVec];

  __device__ void read(const GatedNormCuda& norm, const Batched<float>& dy, const RowGroup& at,
                       bool inside) {
#pragma unroll
    for (int item = 0; item < Tile::kItems; ++item) {
      const Index j = Tile::column(item);
#pragma unroll
      for (int k = 0; k < Tile::kVec; ++k)
        x[item][k] = 0, z[item][k] = 0, d[item][k] = 0;  // adds nothing to any sum
      if (!inside || j >= norm.weight.cols) continue;
      load_numbers(at.at(norm.x, j), x[item]);
      load_numbers(at.at(norm.gate, j), z[item]);
      load_numbers(at.at(dy, j), d[item]);
    }
  }
};

/// With u = x or x ⊙ a, n = u · inverse and g the gradient of n ⊙ weight:
/// du = inverse (g ⊙ weight - n mean(g ⊙ weight ⊙ n)). A block is a chunk of `chunk` groups and
/// leaves their Σ g ⊙ n in parts [R, chunks, D], unless null.
template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    gated_backward(GatedNormCuda norm, std::uint32_t count, std::uint32_t groups,
                   std::uint32_t chunk, Batched<float> dy, Gradient<float> dx,
                   Gradient<float> dgate, float* parts) {
  __shared__ float sums[kNormThreads / 32];
  constexpr int kItems = Tile::kItems, kVec = Tile::kVec;
  const Index replica = blockIdx.y, width = norm.weight.cols;
  const std::uint32_t first = blockIdx.x * chunk, last = min(first + chunk, count);
  float w[kItems][kVec] = {}, dw[kItems][kVec] = {};
#pragma unroll
  for (int item = 0; item < kItems; ++item)
    if (Tile::column(item) < width)
      load_numbers(norm.weight.data + replica * norm.weight.replica_stride + Tile::column(item),
                   w[item]);
  for (std::uint32_t begin = first; begin < last; begin += Tile::kGroups) {
    const std::uint32_t index = begin + Tile::group();
    const bool inside = index < last;
    const RowGroup at(index, groups, width);
    Numbers<Tile> n;
    n.read(norm, dy, at, inside);
    const float inverse = inside ? *at.number(norm.saved) : 0.0f;
    float sum = 0;
#pragma unroll
    for (int item = 0; item < kItems; ++item) {
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const float a = Gate(norm.silu, n.z[item][k]).value;
        const float normed = n.x[item][k] * inverse * (norm.after_norm ? 1.0f : a);
        const float g = n.d[item][k] * (norm.after_norm ? a : 1.0f);
        dw[item][k] += g * normed;
        sum += g * w[item][k] * normed;
      }
    }
    const float mean = row_sum<Tile>(sum, sums) / static_cast<float>(width);
#pragma unroll
    for (int item = 0; item < kItems; ++item) {
      const Index j = Tile::column(item);
      if (!inside || j >= width) continue;
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const Gate gate(norm.silu, n.z[item][k]);
        const float x = n.x[item][k], d = n.d[item][k], a = gate.value;
        const float normed = x * inverse * (norm.after_norm ? 1.0f : a);
        const float du = inverse * (d * w[item][k] * (norm.after_norm ? a : 1.0f) - normed * mean);
        n.x[item][k] = norm.after_norm ? du : du * a;
        n.z[item][k] = gate.slope * (norm.after_norm ? d * normed * w[item][k] : du * x);
      }
      write_group(dx, at, j, n.x[item]);
      write_group(dgate, at, j, n.z[item]);
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
    gated_forward<Tile>
        <<<group_blocks(count, Tile::kGroups, y.replicas), kNormThreads, 0, call.stream>>>(
            norm, count, static_cast<std::uint32_t>(y.cols / width), y);
  });
  cuda_check_launch("gated_norm_forward");
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
    gated_backward<decltype(tile)>
        <<<group_blocks(count, chunk, replicas), kNormThreads, 0, call.stream>>>(
            norm, count, static_cast<std::uint32_t>(dy.cols / width),
            static_cast<std::uint32_t>(chunk), dy, gradients.x, gradients.gate, parts);
  });
  cuda_check_launch("gated_norm_backward");
  sum_partials_cuda(call, replicas, {parts, norm_chunks(count), width, 0, gradients.weight, {}});
}

}  // namespace recallbench
