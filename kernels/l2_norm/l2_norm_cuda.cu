// Floor: forward reads x and writes y, backward reads y and dy and writes dx, once each (B = 256,
// L = 256, 128 columns: 67 and 101 MB, 16 and 24 us). A head stays in the registers of a few lanes
// between its sum and its output.
#include "kernels/l2_norm/l2_norm_cuda.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/norm/row_groups.cuh"

namespace recallbench {
namespace {

struct Groups {
  std::uint32_t count, groups;  // of a replica; of a row
  Index width;
  bool by_sum;
  float eps;
};

template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    length_forward(Groups all, Batched<float> x, Batched<float> y, Batched<float> inverse) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  const std::uint32_t index = blockIdx.x * Tile::kGroups + Tile::group();
  const bool inside = index < all.count;  // all lanes stay for the sum
  const RowGroup at(index, all.groups, all.width);
  float numbers[Tile::kItems][Tile::kVec], sum = 0;
  load_group<Tile>(x, at, all.width, inside, numbers);
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item)
#pragma unroll
    for (int k = 0; k < Tile::kVec; ++k)
      sum += all.by_sum ? numbers[item][k] : numbers[item][k] * numbers[item][k];
  sum = row_sum<Tile>(sum, sums);
  if (!inside) return;
  const float factor = 1.0f / (all.by_sum ? sum : sqrtf(sum + all.eps));
  if (threadIdx.x % Tile::kLanes == 0) *at.number(inverse) = factor;
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item) {
    if (Tile::column(item) >= all.width) continue;
#pragma unroll
    for (int k = 0; k < Tile::kVec; ++k)
      numbers[item][k] *= factor;
    store_numbers(numbers[item], at.at(y, Tile::column(item)));
  }
}

template <class Tile>
__global__ void __launch_bounds__(kNormThreads)
    length_backward(Groups all, Batched<float> y, Batched<float> inverse, Batched<float> dy,
                    Gradient<float> dx) {
  after_previous();
  __shared__ float sums[kNormThreads / 32];
  const std::uint32_t index = blockIdx.x * Tile::kGroups + Tile::group();
  const bool inside = index < all.count;
  const RowGroup at(index, all.groups, all.width);
  float ys[Tile::kItems][Tile::kVec], ds[Tile::kItems][Tile::kVec], dot = 0;
  load_group<Tile>(y, at, all.width, inside, ys);
  load_group<Tile>(dy, at, all.width, inside, ds);
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item)
#pragma unroll
    for (int k = 0; k < Tile::kVec; ++k)
      dot += ds[item][k] * ys[item][k];
  dot = row_sum<Tile>(dot, sums);
  if (!inside) return;
  const float factor = *at.number(inverse);
#pragma unroll
  for (int item = 0; item < Tile::kItems; ++item) {
    if (Tile::column(item) >= all.width) continue;
#pragma unroll
    for (int k = 0; k < Tile::kVec; ++k)
      ds[item][k] = factor * (ds[item][k] - (all.by_sum ? dot : ys[item][k] * dot));
    write_group(dx, at, Tile::column(item), ds[item]);
  }
}

Groups groups_of(const LengthNormPlan& plan, const Batched<float>& x) {
  const Index width = x.cols / plan.heads;
  return {count_groups("l2_norm", x, width), static_cast<std::uint32_t>(plan.heads), width,
          plan.by_sum, static_cast<float>(plan.eps)};
}

}  // namespace

void length_norm_forward_cuda(const CudaCall& call, const LengthNormPlan& plan,
                              const Batched<float>& x, const Batched<float>& y,
                              const Batched<float>& inverse) {
  const Groups all = groups_of(plan, x);
  const bool quads = all.width % 4 == 0 && all_in_quads(x, y);
  with_row_tile(all.width, quads, [&](auto tile) {
    using Tile = decltype(tile);
    cuda_launch("length_norm_forward", length_forward<Tile>,
                {group_blocks(all.count, Tile::kGroups, x.replicas), kNormThreads, 0, call.stream},
                all, x, y, inverse);
  });
}

void length_norm_backward_cuda(const CudaCall& call, const LengthNormPlan& plan,
                               const Batched<float>& y, const Batched<float>& inverse,
                               const Batched<float>& dy, const Gradient<float>& dx) {
  if (!dx.wanted) return;
  const Groups all = groups_of(plan, y);
  const bool quads = all.width % 4 == 0 && all_in_quads(y, dy, dx.view);
  with_row_tile(all.width, quads, [&](auto tile) {
    using Tile = decltype(tile);
    cuda_launch("length_norm_backward", length_backward<Tile>,
                {group_blocks(all.count, Tile::kGroups, y.replicas), kNormThreads, 0, call.stream},
                all, y, inverse, dy, dx);
  });
}

}  // namespace recallbench
