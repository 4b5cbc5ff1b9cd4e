// Labelled head without logits in memory. A product here is 2 M V D operations: 34 GFLOP for
// M = 16,384, V = 8192, D = 128.
//
// Predictions by which this was chosen, for one training step on an H200 (132 multiprocessors,
// 4.2 TB/s, about 5.5 TB/s from the L2, 790 TFLOP/s in bf16 by cuBLAS, about 350 by mma.sync), in
// ms for M = 4096 / 16,384:
//                                                        D = 64         D = 128
//   chunks, tf32: 3 products, a logit written twice and
//     read three times from the L2, 5 launches a chunk   0.15 / 0.6     0.20 / 0.8
//   chunks, dlogits and operands in bf16                 0.11 / 0.42    0.13 / 0.5
//   two passes: 4 products, no logits, 6 launches        0.06 / 0.22    0.11 / 0.42
// The fourth product is the scores again: it costs less than to keep them. A third pass
// (statistics, dh, dtable: 5 products) is spared, for the first takes dh along by a running
// softmax. The floor is three products at cuBLAS's rate in bf16, 0.28 ms for M = 16,384, D = 128.
// A row's result of D = 256 takes twice the registers, so a warp has half of the rows: a tile's
// fragment, read from shared memory, serves two products instead of four, and a warp reads 576
// cycles a tile instead of 320. Predicted and measured 1.1 ms for M = 16,384; chunks took 4.2.
//
// On compute 9.0, in a program with code for it alone (RECALLBENCH_SM90A), both passes are by wgmma
// (fused_head_warpgroups.cuh): two products in 0.24 ms for M = 16,384, D = 256 (four replicas),
// 0.83 to 0.88 for M = 65,536, at 660 to 620 TFLOP/s; by mma.sync 0.47 to 0.49 and 1.7 to 1.8.
//
// Launches: (magnitudes under tf32,) convert, row_pass, merge_rows; table_pass, merge_table. Bytes:
// h and table once, their 16-bit copies (6 MB, in the L2 throughout), and about 16 MB of partial
// results for each pass, written once and read once.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/base/error.h"
#include "kernels/cuda/compute_90a.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/label_cross_entropy/block_total.cuh"
#include "kernels/label_cross_entropy/fused_head_cuda.h"
#include "kernels/label_cross_entropy/fused_head_passes.cuh"
#ifdef RECALLBENCH_SM90A
#include "kernels/label_cross_entropy/fused_head_warpgroups.cuh"
#endif

namespace recallbench {
namespace fused_head {
namespace {

constexpr int kSmallThreads = 256;
constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

/// A [rows, cols] matrix of float32 with zeros where it ends, read four numbers at a time.
struct Quads {
  const float* data;
  int rows, cols;
  Index stride;
  bool aligned;  // and no quad lies half within

  __device__ Quads(const Batched<float>& x, Index replica)
      : data(x.data + replica * x.replica_stride),
        rows(static_cast<int>(x.rows)),
        cols(static_cast<int>(x.cols)),
        stride(x.stride),
        aligned(reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride % 4 == 0 &&
                cols % 4 == 0) {}

  __device__ float4 operator()(int row, int column) const {
    if (row >= rows) return make_float4(0, 0, 0, 0);
    const float* x = data + row * stride + column;
    const int left = cols - column;
    if (aligned) return left > 0 ? *reinterpret_cast<const float4*>(x) : make_float4(0, 0, 0, 0);
    return make_float4(left > 0 ? x[0] : 0, left > 1 ? x[1] : 0, left > 2 ? x[2] : 0,
                       left > 3 ? x[3] : 0);
  }
};

/// magnitudes[0] of parts of h, [1] of parts of the table: the largest |x|. One block each.
template <int kDim>
__global__ void __launch_bounds__(kSmallThreads) magnitudes(const __grid_constant__ Fused f) {
  after_previous();
  __shared__ float shared[kSmallThreads / 32];
  constexpr int kPerRow = kDim / 4;
  const int part = blockIdx.x % kMagnitudes;
  const bool table = blockIdx.x / kMagnitudes % 2 == 1;
  const Index replica = blockIdx.x / (2 * kMagnitudes);
  const Quads quads(table ? f.a.table : f.a.h, replica);
  const int count = quads.rows * kPerRow;
  float largest = 0;
#pragma unroll 8
  for (int i = part * kSmallThreads + threadIdx.x; i < count; i += kMagnitudes * kSmallThreads) {
    const float4 x = quads(i / kPerRow, i % kPerRow * 4);
    largest = fmaxf(fmaxf(fmaxf(largest, fabsf(x.x)), fmaxf(fabsf(x.y), fabsf(x.z))), fabsf(x.w));
  }
  largest = block_max<kSmallThreads>(largest, shared);
  if (threadIdx.x == 0) f.facts(replica).magnitudes[table][part] = largest;
}

/// The power of two by which float16 gets the operand: its largest number comes to 2^13 or more,
/// below 2^14; what is 2^-27 of that and smaller becomes subnormal.
__device__ int float16_exponent(const float (&of_parts)[kMagnitudes]) {
  const int lane = threadIdx.x % 32;
  const float largest = warp_max(fmaxf(of_parts[lane], of_parts[lane + 32]));
  if (!(largest > 0) || isinf(largest)) return 0;
  int exponent = 0;
  frexpf(largest, &exponent);
  return max(-60, min(60, 14 - exponent));
}

/// Eights of numbers of both operands: whole blocks of each, since each has a multiple of 128 rows.
__host__ __device__ inline int eights(const Plan& plan) {
  return (plan.padded_rows + plan.padded_vocab) * (plan.dim / 8);
}

/// The 16-bit operands, eight numbers a thread; a replica's first block collects its facts.
template <class E, int kDim>
__global__ void __launch_bounds__(kSmallThreads) convert(const __grid_constant__ Fused f) {
  after_previous();
  constexpr int kPerRow = kDim / 8;
  const Plan& plan = f.plan;
  const int blocks = eights(plan) / kSmallThreads + 1, block = blockIdx.x % blocks;
  const Index replica = blockIdx.x / blocks;
  Facts& facts = f.facts(replica);
  int h_exponent = 0, table_exponent = 0;
  if constexpr (std::is_same_v<E, __half>) {
    h_exponent = float16_exponent(facts.magnitudes[0]);
    table_exponent = float16_exponent(facts.magnitudes[1]);
  }
  if (block == 0) {
    const double total = total_weight<kSmallThreads>(f.a.weights + replica * plan.rows, plan.rows);
    if (threadIdx.x != 0) return;
    facts.weight_unit = static_cast<float>(1 / total);
    facts.to_log2 = ldexpf(kLog2E, -h_exponent - table_exponent);
    facts.h_unit = ldexpf(1, -h_exponent);
    facts.table_unit = ldexpf(1, -table_exponent);
    return;
  }
  int place = (block - 1) * kSmallThreads + static_cast<int>(threadIdx.x);
  const bool table = place >= plan.padded_rows * kPerRow;
  if (table) place -= plan.padded_rows * kPerRow;
  const Quads quads(table ? f.a.table : f.a.h, replica);
  const float scale = ldexpf(1, table ? table_exponent : h_exponent);
  int row = place / kPerRow, column = place % kPerRow * 8;
  if (plan.warpgroups) {
    const int rows = table ? plan.padded_vocab : plan.padded_rows, within = place % (8 * rows);
    row = within / 8;
    column = place / (8 * rows) * 64 + ((within % 8) ^ (row % 8)) * 8;
  }
  const float4 low = quads(row, column), high = quads(row, column + 4);
  f.at<uint4>(replica, table ? plan.table : plan.h)[place] =
      make_uint4(pack<E>(low.x * scale, low.y * scale), pack<E>(low.z * scale, low.w * scale),
                 pack<E>(high.x * scale, high.y * scale), pack<E>(high.z * scale, high.w * scale));
}

/// One warp a row: merges the parts of the row pass (lane p holds part p) into row loss,
/// correctness, what the table pass needs, and dh = w / Σw (Σ_v softmax[v] table[v] -
/// table[target]).
template <class E, int kDim>
__global__ void __launch_bounds__(kSmallThreads) merge_rows(const __grid_constant__ Fused f) {
  after_previous();
  const Plan& plan = f.plan;
  const Index warp = (blockIdx.x * Index{kSmallThreads} + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32, row = static_cast<int>(warp % plan.padded_rows);
  const Index replica = warp / plan.padded_rows;
  Column* column = f.at<Column>(replica, plan.columns) + row;
  if (row >= plan.rows) {
    if (lane == 0) *column = {-INFINITY, -1};
    return;
  }
  const Facts& facts = f.facts(replica);
  const int target = f.a.targets[replica * plan.rows + row];
  const float weight = f.a.weights[replica * plan.rows + row];
  const float2 of_target = f.at<float2>(replica, plan.target_stats)[row];
  float2 stats = make_float2(-INFINITY, 0);
  if (lane < plan.vocab_parts)
    stats = f.at<float2>(replica, plan.part_stats)[Index{lane} * plan.padded_rows + row];
  const float largest = warp_max(stats.x);
  const float factor =
      lane < plan.vocab_parts ? exp2_approximate((stats.x - largest) * facts.to_log2) : 0;
  const float scaled_sum = warp_sum(factor * stats.y);
  const float sum = scaled_sum * (1 / kScale);
  const int end = (lane + 1) * plan.tiles_of(plan.vocab) / plan.vocab_parts * plan.tile_rows;
  const bool earlier =
      __any_sync(0xffffffffu, lane < plan.vocab_parts && end <= target && stats.x == largest);
  if (lane == 0) {
    const float score = of_target.x;
    f.a.row_loss.data[replica * f.a.row_loss.replica_stride + row * f.a.row_loss.stride] =
        logf(sum) + (largest - score) * facts.to_log2 * kLn2;
    f.a.correct.data[replica * f.a.correct.replica_stride + row * f.a.correct.stride] =
        score == largest && of_target.y < score && !earlier ? 1.0f : 0.0f;
    const float log2_sum = fmaf(largest, facts.to_log2, log2f(sum));
    *column = {weight == 0 ? -INFINITY : kShift + log2f(weight) - log2_sum, target};
  }
  if (!f.a.dh.wanted) return;
  float dh[kDim / 32] = {};
  const float* part = f.at<float>(replica, plan.parts) + Index{row} * kDim + lane;
#pragma unroll 8
  for (int p = 0; p < plan.vocab_parts; ++p) {
    const float of_part = __shfl_sync(0xffffffffu, factor, p);
#pragma unroll
    for (int k = 0; k < kDim / 32; ++k)
      dh[k] = fmaf(of_part, part[32 * k], dh[k]);
    part += Index{plan.padded_rows} * kDim;
  }
  const E* table = f.at<E>(replica, plan.table);
  const float scale = weight * facts.weight_unit * facts.table_unit;
#pragma unroll
  for (int k = 0; k < kDim / 32; ++k)
    if (lane + 32 * k < plan.cols) {
      const E word = table[plan.place_of(plan.padded_vocab, target, lane + 32 * k)];
      write_gradient(f.a.dh, replica, row, lane + 32 * k,
                     weight == 0 ? 0 : scale * (dh[k] / scaled_sum - widen(word)));
    }
}

/// dtable = Σ of its parts, in order, in units of 1.
template <int kDim>
__global__ void __launch_bounds__(kSmallThreads) merge_table(const __grid_constant__ Fused f) {
  after_previous();
  const Plan& plan = f.plan;
  const Index per_replica = Index{plan.padded_vocab} * kDim;
  const Index place = blockIdx.x * Index{kSmallThreads} + threadIdx.x;
  const Index replica = place / per_replica, within = place % per_replica;
  const Index word = within / kDim, column = within % kDim;
  if (word >= plan.vocab || column >= plan.cols) return;
  const float* part = f.at<float>(replica, plan.parts) + within;
  float sum = 0;
#pragma unroll 4
  for (int p = 0; p < plan.row_parts; ++p)
    sum += part[p * per_replica];
  const Facts& facts = f.facts(replica);
  write_gradient(f.a.dtable, replica, word, column,
                 sum * (facts.weight_unit * facts.h_unit * (1 / kScale)));
}

/// Launches a pass of `blocks` blocks' work with its shared memory.
template <int kDim>
void launch(const CudaCall& call, void (*pass)(Fused), Index blocks, const Fused& f,
            const char* name) {
  constexpr std::size_t kShared = Shared<kDim>::kSize;
  cuda_allow_shared(pass, kShared, name);
  cuda_launch(name, pass,
              {static_cast<unsigned>(blocks), WarpShape<kDim>::kThreads, kShared, call.stream}, f);
}

#ifdef RECALLBENCH_SM90A
template <int kDim>
void launch_warpgroups(const CudaCall& call, void (*pass)(Fused), Index shares, const Fused& f,
                       const char* name) {
  constexpr std::size_t kShared = warpgroups::Shared<kDim>::kSize;
  cuda_allow_shared(pass, kShared, name);
  const auto blocks = static_cast<unsigned>(std::min<Index>(shares, cuda_multiprocessors()));
  cuda_launch(name, pass, {blocks, warpgroups::kThreads, kShared, call.stream}, f);
}
#endif

template <class E, int kDim>
void launch_row_pass(const CudaCall& call, const Fused& f) {
  const Plan& plan = f.plan;
  const Index shares = f.a.h.replicas * (plan.padded_rows / kOwnRows) * plan.vocab_parts;
#ifdef RECALLBENCH_SM90A
  if (plan.warpgroups)
    return launch_warpgroups<kDim>(
        call,
        f.a.dh.wanted ? warpgroups::row_pass<E, kDim, true> : warpgroups::row_pass<E, kDim, false>,
        shares, f, "row_pass");
#endif
  launch<kDim>(call, f.a.dh.wanted ? row_pass<E, kDim, true> : row_pass<E, kDim, false>, shares, f,
               "row_pass");
}

template <class E, int kDim>
void launch_table_pass(const CudaCall& call, const Fused& f) {
  const Plan& plan = f.plan;
  const Index shares = f.a.h.replicas * (plan.padded_vocab / kOwnRows) * plan.row_parts;
#ifdef RECALLBENCH_SM90A
  if (plan.warpgroups)
    return launch_warpgroups<kDim>(call, warpgroups::table_pass<E, kDim>, shares, f, "table_pass");
#endif
  launch<kDim>(call, table_pass<E, kDim>, shares, f, "table_pass");
}

unsigned small_blocks(Index threads) {
  return static_cast<unsigned>(threads / kSmallThreads);
}

template <class E, int kDim>
void run_rows(const CudaCall& call, const Fused& f) {
  const Plan& plan = f.plan;
  const Index replicas = f.a.h.replicas;
  if constexpr (std::is_same_v<E, __half>) {
    cuda_launch("magnitudes", magnitudes<kDim>,
                {static_cast<unsigned>(replicas * 2 * kMagnitudes), kSmallThreads, 0, call.stream},
                f);
  }
  cuda_launch("convert", convert<E, kDim>,
              {static_cast<unsigned>(replicas) * (small_blocks(eights(plan)) + 1), kSmallThreads, 0,
               call.stream},
              f);
  launch_row_pass<E, kDim>(call, f);
  cuda_launch("merge_rows", merge_rows<E, kDim>,
              {small_blocks(replicas * plan.padded_rows * 32), kSmallThreads, 0, call.stream}, f);
}

template <class E, int kDim>
void run_table(const CudaCall& call, const Fused& f) {
  const Plan& plan = f.plan;
  const Index replicas = f.a.h.replicas;
  launch_table_pass<E, kDim>(call, f);
  cuda_launch("merge_table", merge_table<kDim>,
              {small_blocks(replicas * plan.padded_vocab * kDim), kSmallThreads, 0, call.stream},
              f);
}

/// Calls body(element type, width) with those that serve such a call.
template <class Body>
void with_operands(const CudaCall& call, const Fused& f, const Body& body) {
  check(fused_head_fits(call.precision, f.a.h.cols), "fused_head_cuda",
        "expected a 16-bit precision and columns that fit");
  const auto with_width = [&](auto width) {
    if (call.precision == Precision::bf16)
      body(__nv_bfloat16{}, width);
    else
      body(__half{}, width);
  };
  if (f.plan.dim == kWidest)
    with_width(std::integral_constant<int, kWidest>{});
  else if (f.plan.dim == 128)
    with_width(std::integral_constant<int, 128>{});
  else
    with_width(std::integral_constant<int, 64>{});
}

Fused fused(const LabelCrossEntropyOnDevice& a) {
  return {a, {a.h.rows, a.table.rows, a.h.cols, cuda_has_wgmma()}};
}

}  // namespace
}  // namespace fused_head

bool fused_head_fits(Precision precision, Index cols) {
  if (precision == Precision::fp32 || cols > fused_head::kWidest) return false;
  return cols <= 128 || fused_head::Shared<fused_head::kWidest>::kSize <= cuda_shared_limit();
}

Index fused_head_scratch(Index replicas, Index rows, Index vocab, Index cols) {
  if (cols > fused_head::kWidest) return 0;
  return replicas * fused_head::Plan(rows, vocab, cols, cuda_has_wgmma()).size;
}

void fused_head_rows_cuda(const CudaCall& call, const LabelCrossEntropyOnDevice& a) {
  const fused_head::Fused f = fused_head::fused(a);
  fused_head::with_operands(call, f, [&](auto element, auto width) {
    fused_head::run_rows<decltype(element), decltype(width)::value>(call, f);
  });
}

void fused_head_table_cuda(const CudaCall& call, const LabelCrossEntropyOnDevice& a) {
  if (!a.dtable.wanted) return;
  const fused_head::Fused f = fused_head::fused(a);
  fused_head::with_operands(call, f, [&](auto element, auto width) {
    fused_head::run_table<decltype(element), decltype(width)::value>(call, f);
  });
}

}  // namespace recallbench
