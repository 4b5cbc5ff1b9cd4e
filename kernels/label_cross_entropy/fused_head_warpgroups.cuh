#pragma once

// The two passes by wgmma (sm_90a). A block keeps 128 rows of one operand, 64 for each of its two
// warpgroups, with their result in registers, while tiles of the other operand come through a ring
// in shared memory. Tile by tile a warpgroup begins the scores of the next and the result of this
// one and, while the tensor cores are at the other warpgroup's, turns scores into weights. There
// are as many blocks as multiprocessors, each takes one share of the work after another, and the
// tiles of the next begin to come before this one ends.

#include "kernels/cuda/launch.cuh"
#include "kernels/label_cross_entropy/fused_head_tiles.cuh"

namespace recallbench::fused_head::warpgroups {

/// Calls, for each of the block's shares, pass.begin(share, row) with a lane's first row of those
/// kept; for each of its tiles pass.weigh(s, tile, slot), which makes weights of scores;
/// pass.shrink(result) before that tile's are added; and pass.end(share, row, result).
template <class E, int kDim, bool kGradient, class Pass>
__device__ inline void run_pass(const Fused& f, const Work& work, std::uint32_t shared,
                                Pass& pass) {
  using S = Shared<kDim>;
  using P = Products<E, kDim>;
  const int warp = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 32, 0);
  const int group = warp / 4, lane = threadIdx.x % 32;
  const bool leads = threadIdx.x % 128 == 0, brings = threadIdx.x == 0;
  const std::uint32_t own = shared + group * S::kOwnBytes;
  const std::uint32_t own_full = shared + S::kOwnFull + group * sizeof(Barrier);
  if (brings) {
    for (int i = 0; i < kStages; ++i) {
      barrier_init(shared + S::kFull + i * sizeof(Barrier), 1);
      barrier_init(shared + S::kEmpty + i * sizeof(Barrier), kThreads / 32);
    }
    for (int i = 0; i < 2; ++i)
      barrier_init(shared + S::kOwnFull + i * sizeof(Barrier), 1);
    barriers_ready();
  }
  __syncthreads();

  const auto begin_own = [&](int number) {
    const Share share = work.share(number);
    barrier_expect(own_full, S::kOwnBytes);
    copy_panels<E, kDim>(own, f.at<E>(share.replica, work.own), work.own_rows,
                         share.own * kOwnRows + group * kWarpgroupRows, kWarpgroupRows, own_full);
  };
  Tiles<E, kDim> tiles(f, work, shared);
  const int shares = work.shares(f);
  if (leads) begin_own(blockIdx.x);
  if (brings) tiles.begin_next(), tiles.begin_next();
  __syncwarp();

  // The warpgroups take turns at the tensor cores.
  const auto begin_turn = [&] { threads_meet(1 + group, kThreads); };
  const auto end_turn = [&] { threads_arrive(2 - group, kThreads); };
  if (group == 1) end_turn();

  Ring<kStages> ring;
  std::uint32_t own_parity = 0, previous = 0;
  const auto release = [&](std::uint32_t slot) {
    if (lane == 0) barrier_arrive(shared + S::kEmpty + slot * sizeof(Barrier));
    __syncwarp();
  };
  const auto tile_at = [&](std::uint32_t slot) {
    return shared + S::kTiles + slot * S::kTileBytes;
  };

  typename P::Scores s;
  typename P::Weights p;
  typename P::Result result;
  for (int number = blockIdx.x; number < shares; number += gridDim.x) {
    const Share share = work.share(number);
    const int row = share.own * kOwnRows + warp * 16 + lane / 4;
    pass.begin(share, row);
#pragma unroll
    for (int i = 0; i < P::kSpans; ++i)
#pragma unroll
      for (auto& four : result[i])
        four[0] = four[1] = four[2] = four[3] = 0;
    barrier_wait(own_full, own_parity);
    own_parity ^= 1;

    const auto step = [&](int tile, auto is_first) {
      constexpr bool kFirst = decltype(is_first)::value;
      barrier_wait(shared + S::kFull + ring.slot * sizeof(Barrier), ring.parity);
      begin_turn();
      products_fence();
      P::scores(own, tile_at(ring.slot), s);
      if constexpr (kGradient && !kFirst) {
        P::add_weighted(p, tile_at(previous), result);
        end_turn();
        products_wait<1>();
      } else {
        end_turn();
        products_wait<0>();
      }
      products_arrived(s[0]);
      if (tile + 1 == share.last && number + gridDim.x < shares) {
        threads_meet(3 + group, kThreads / 2);
        if (leads) begin_own(number + gridDim.x);
        __syncwarp();
      }
      pass.weigh(s, tile, ring.slot);
      if (brings) tiles.begin_next();
      __syncwarp();
      if constexpr (!kFirst) {
        products_wait<0>();
        release(previous);
      }
      if constexpr (kGradient) {
        P::arrived(result);
        pass.shrink(result);
        P::round(s, p);
      }
      previous = ring.slot;
      ring.next();
    };
    step(share.first, std::true_type{});
    for (int tile = share.first + 1; tile < share.last; ++tile)
      step(tile, std::false_type{});
    if constexpr (kGradient) {
      begin_turn();
      products_fence();
      P::add_weighted(p, tile_at(previous), result);
      end_turn();
      products_wait<0>();
      P::arrived(result);
    }
    release(previous);
    pass.end(share, row, result);
  }
  if (group == 0) begin_turn();  // nobody is left waiting
}

/// fused_head::row_pass.
template <class E, int kDim, bool kGradient>
struct RowPass {
  using P = Products<E, kDim>;
  const Fused& f;
  int column = 2 * (threadIdx.x % 4);
  float to_log2;
  float2* target_stats;
  RunningSoftmax<2> rows;
  float factor[2];
  bool grew;

  __device__ explicit RowPass(const Fused& f) : f(f) {}

  __device__ void begin(const Share& share, int row) {
    to_log2 = f.facts(share.replica).to_log2;
    target_stats = f.at<float2>(share.replica, f.plan.target_stats) + row;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int at = row + 8 * r;
      rows.largest[r] = -INFINITY;
      rows.sum[r] = 0;
      rows.target[r] = at < f.plan.rows ? f.a.targets[share.replica * f.plan.rows + at] : -1;
    }
  }
  __device__ void weigh(typename P::Scores& s, int tile, int) {
    const int word = tile * P::S::kTileRows;
    if (word + P::S::kTileRows > f.plan.vocab)
      drop_from<1, P::kEights>(f.plan.vocab - word, s, column);
    float largest[2];
    grew = find_largest<1, P::kEights>(rows, s, word, column, largest,
                                       [&](int r, float2 stats) { target_stats[8 * r] = stats; });
    if (grew) grow_to(rows, largest, to_log2, factor);
    fused_head::weigh<1, P::kEights>(rows, to_log2, s);
  }
  __device__ void shrink(typename P::Result& result) const {
    if (!grew) return;
#pragma unroll
    for (int i = 0; i < P::kSpans; ++i)
      fused_head::shrink(result[i], factor[0], factor[1]);
  }
  __device__ void end(const Share& share, int row, const typename P::Result& result) const {
    const Index part_row = Index{share.part} * f.plan.padded_rows + row;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = warp_sum<4>(rows.sum[r]);
      if (column == 0)
        f.at<float2>(share.replica, f.plan.part_stats)[part_row + 8 * r] =
            make_float2(rows.largest[r], sum);
    }
    if constexpr (kGradient)
      P::store(result, f.at<float>(share.replica, f.plan.parts) + part_row * kDim + column);
  }
};

/// fused_head::table_pass.
template <class E, int kDim>
struct TablePass {
  using P = Products<E, kDim>;
  const Fused& f;
  const char* shared;
  float to_log2;
  int warp_word;
  const float* weights;

  __device__ TablePass(const Fused& f, const char* shared) : f(f), shared(shared) {}

  __device__ void begin(const Share& share, int row) {
    to_log2 = f.facts(share.replica).to_log2;
    warp_word = row / 16 * 16;
    weights = f.a.weights + share.replica * f.plan.rows;
  }
  __device__ void weigh(typename P::Scores& s, int tile, int slot) const {
    weigh_columns<1, P::kEights>(
        reinterpret_cast<const Column*>(shared + P::S::kColumns + slot * P::S::kColumnBytes),
        weights + tile * P::S::kTileRows, to_log2, warp_word, s);
  }
  __device__ void shrink(typename P::Result&) const {}
  __device__ void end(const Share& share, int row, const typename P::Result& result) const {
    P::store(result, f.at<float>(share.replica, f.plan.parts) +
                         (Index{share.part} * f.plan.padded_vocab + row) * kDim +
                         2 * (threadIdx.x % 4));
  }
};

template <class E, int kDim, bool kGradient>
__global__ void __launch_bounds__(kThreads, 1) row_pass(const __grid_constant__ Fused f) {
  after_previous();
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) char shared_rows[];
  const Plan& plan = f.plan;
  const Work work{plan.h,
                  plan.table,
                  plan.padded_rows,
                  plan.padded_vocab,
                  plan.vocab_parts,
                  plan.tiles_of(plan.vocab),
                  false};
  RowPass<E, kDim, kGradient> pass(f);
  run_pass<E, kDim, kGradient>(f, work, shared_address(shared_rows), pass);
#endif
}

template <class E, int kDim>
__global__ void __launch_bounds__(kThreads, 1) table_pass(const __grid_constant__ Fused f) {
  after_previous();
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) char shared_rows[];
  const Plan& plan = f.plan;
  const Work work{plan.table,
                  plan.h,
                  plan.padded_vocab,
                  plan.padded_rows,
                  plan.row_parts,
                  plan.tiles_of(plan.rows),
                  true};
  TablePass<E, kDim> pass(f, shared_rows);
  run_pass<E, kDim, true>(f, work, shared_address(shared_rows), pass);
#endif
}

}  // namespace recallbench::fused_head::warpgroups
