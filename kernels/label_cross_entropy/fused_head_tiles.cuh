#pragma once

// What the passes by wgmma (fused_head_warpgroups.cuh) keep in shared memory, how it comes there,
// and a warpgroup's products with it.

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/wgmma.cuh"
#include "kernels/label_cross_entropy/fused_head_softmax.cuh"

namespace recallbench::fused_head::warpgroups {

constexpr int kThreads = 256, kWarpgroupRows = 64;
constexpr int kStages = 4;  // of the ring; a stage is filled anew two tiles after its use
constexpr int kPanelColumns = 64, kPanelRowBytes = 128;

template <int kDim>
struct Shared {
  static constexpr int kTileRows = Plan::warpgroup_tile_rows(kDim), kPanels = kDim / kPanelColumns;
  static constexpr int kOwnPanel = kWarpgroupRows * kPanelRowBytes, kOwnBytes = kPanels * kOwnPanel;
  static constexpr int kTilePanel = kTileRows * kPanelRowBytes, kTileBytes = kPanels * kTilePanel;
  static constexpr int kColumnBytes = kTileRows * static_cast<int>(sizeof(Column));
  static constexpr int kTiles = 2 * kOwnBytes, kColumns = kTiles + kStages * kTileBytes;
  static constexpr int kFull = kColumns + kStages * kColumnBytes;
  static constexpr int kEmpty = kFull + kStages * static_cast<int>(sizeof(Barrier));
  static constexpr int kOwnFull = kEmpty + kStages * static_cast<int>(sizeof(Barrier));
  static constexpr int kSize = kOwnFull + 2 * static_cast<int>(sizeof(Barrier));
};

/// The operands of a pass, and how its work is shared out.
struct Work {
  Index own, streamed;  // places in the scratch
  int own_rows, streamed_rows, parts, tiles;
  bool columns;  // a tile comes with those of its rows

  __device__ Share share(int number) const { return {number, own_rows / kOwnRows, parts, tiles}; }
  __device__ int shares(const Fused& f) const {
    return own_rows / kOwnRows * parts * static_cast<int>(f.a.h.replicas);
  }
};

/// Begins to copy rows from all panels of an operand of `all` rows.
template <class E, int kDim>
__device__ inline void copy_panels(std::uint32_t to, const E* from, int all, int first, int rows,
                                   std::uint32_t barrier) {
#pragma unroll
  for (int p = 0; p < kDim / kPanelColumns; ++p)
    copy_bulk(to + p * rows * kPanelRowBytes, from + (Index{p} * all + first) * kPanelColumns,
              rows * kPanelRowBytes, barrier);
}

/// Brings the tiles of a block's shares, one after another; one thread calls it.
template <class E, int kDim>
class Tiles {
 public:
  __device__ Tiles(const Fused& f, const Work& work, std::uint32_t shared)
      : f_(f),
        work_(work),
        shared_(shared),
        number_(blockIdx.x),
        share_(work.share(number_)),
        tile_(share_.first) {}

  __device__ void begin_next() {
    if (number_ >= work_.shares(f_)) return;
    const std::uint32_t full = shared_ + S::kFull + ring_.slot * sizeof(Barrier);
    barrier_wait(shared_ + S::kEmpty + ring_.slot * sizeof(Barrier), ring_.parity ^ 1);
    barrier_expect(full, S::kTileBytes + (work_.columns ? S::kColumnBytes : 0));
    copy_panels<E, kDim>(shared_ + S::kTiles + ring_.slot * S::kTileBytes,
                         f_.at<E>(share_.replica, work_.streamed), work_.streamed_rows,
                         tile_ * S::kTileRows, S::kTileRows, full);
    if (work_.columns)
      copy_bulk(shared_ + S::kColumns + ring_.slot * S::kColumnBytes,
                f_.at<Column>(share_.replica, f_.plan.columns) + tile_ * S::kTileRows,
                S::kColumnBytes, full);
    ring_.next();
    if (++tile_ < share_.last) return;
    number_ += gridDim.x;
    share_ = work_.share(number_);
    tile_ = share_.first;
  }

 private:
  using S = Shared<kDim>;
  const Fused& f_;
  const Work& work_;
  std::uint32_t shared_;
  int number_;
  Share share_;
  int tile_;
  Ring<kStages> ring_;
};

/// A warpgroup's kept rows against tiles.
template <class E, int kDim>
struct Products {
  using S = Shared<kDim>;
  static constexpr int kEights = S::kTileRows / 8, kSteps = S::kTileRows / 16;
  static constexpr int kSpans = kDim <= 128 ? 1 : kDim / 128, kSpan = kDim / kSpans;
  using Scores = Fragments<1, kEights>;
  using Weights = std::uint32_t[kSteps][4];
  using Result = Fragments<kSpans, kSpan / 8>;

  /// s = kept rows · tileᵀ, begun.
  __device__ static void scores(std::uint32_t own, std::uint32_t tile, Scores& s) {
    const SwizzledRows a(own), b(tile);
#pragma unroll
    for (int k = 0; k < kDim / 16; ++k)
      wgmma_rows<E>(s[0], a.from(k / 4 * S::kOwnPanel + k % 4 * 32),
                    b.from(k / 4 * S::kTilePanel + k % 4 * 32), k > 0);
    products_end_group();
  }

  /// result += p · tile, begun.
  __device__ static void add_weighted(const Weights& p, std::uint32_t tile, Result& result) {
    const SwizzledRows b(tile, S::kTilePanel);
#pragma unroll
    for (int k = 0; k < kSteps; ++k)
#pragma unroll
      for (int i = 0; i < kSpans; ++i)
        wgmma_columns<E>(
            result[i], p[k],
            b.from(i * (kSpan / kPanelColumns) * S::kTilePanel + k * 16 * kPanelRowBytes));
    products_end_group();
  }

  __device__ static void round(const Scores& s, Weights& p) {
#pragma unroll
    for (int k = 0; k < kSteps; ++k)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        p[k][2 * half] = pack<E>(s[0][2 * k + half][0], s[0][2 * k + half][1]);
        p[k][2 * half + 1] = pack<E>(s[0][2 * k + half][2], s[0][2 * k + half][3]);
      }
  }

  __device__ static void arrived(Result& result) {
#pragma unroll
    for (int i = 0; i < kSpans; ++i)
      products_arrived(result[i]);
  }

  /// Writes a lane's two rows of the result, of which `to` is the first.
  __device__ static void store(const Result& result, float* to) {
#pragma unroll
    for (int i = 0; i < kSpans; ++i)
#pragma unroll
      for (int d = 0; d < kSpan / 8; ++d)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<float2*>(to + half * 8 * kDim + i * kSpan + 8 * d) =
              make_float2(result[i][d][2 * half], result[i][d][2 * half + 1]);
  }
};

}  // namespace recallbench::fused_head::warpgroups
