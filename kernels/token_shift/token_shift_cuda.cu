// Floor: forward reads x and writes n outputs, backward reads x and n gradients and writes dx, once
// each (B = 256, L = 256, D = 128, n = 6: 235 and 268 MB, 56 and 64 us). A thread has a few columns
// of eight tokens in a row, so that nine loads are in flight at a time, and goes through the
// outputs with x, or the sum that is dx, in registers; what a neighbour reads again comes from the
// cache. Backward leaves the weights' gradients of the tokens of a block for a second, small
// launch.
#include "kernels/token_shift/token_shift_cuda.h"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256;
constexpr int kRun = 8;  // tokens of a thread

/// kWidth threads side by side have kVec columns each.
template <int Width, int Vec>
struct ShiftTile {
  static constexpr int kWidth = Width, kVec = Vec;
  static constexpr int kCols = Width * Vec;
  static constexpr int kLanes = kThreads / Width;  // runs of a block
  static constexpr Index kRows = Index{kLanes} * kRun;
};
using QuadTile = ShiftTile<32, 4>;
using NarrowQuadTile = ShiftTile<16, 4>;
using SingleTile = ShiftTile<32, 1>;

/// The most blocks' shares of dweight that any tile leaves.
Index most_chunks(Index rows) {
  return (rows + QuadTile::kRows - 1) / QuadTile::kRows;
}

struct Shift {
  bool of_previous;
  int outputs;
  std::uint32_t length, rows;
  Index cols;
};

/// A thread's place: blockIdx is (chunk of rows, tile of columns, replica).
template <class Tile>
struct ShiftPlace {
  int lane, tile_column;
  std::uint32_t first, t;  // its first row, and that row's token
  Index column;
  bool inside;

  __device__ explicit ShiftPlace(const Shift& s)
      : lane(static_cast<int>(threadIdx.x) / Tile::kWidth),
        tile_column(static_cast<int>(threadIdx.x) % Tile::kWidth * Tile::kVec) {
    first = blockIdx.x * static_cast<std::uint32_t>(Tile::kRows) +
            static_cast<std::uint32_t>(lane * kRun);
    t = first % s.length;
    column = blockIdx.y * Index{Tile::kCols} + tile_column;
    inside = first < s.rows && column < s.cols;
  }
  __device__ float* at(const Batched<float>& m, Index row) const {
    return m.data + blockIdx.z * m.replica_stride + row * m.stride + column;
  }
  __device__ bool has(const Shift& s, int i) const { return inside && first + i < s.rows; }
  /// Rows first - 1 .. first + kRun - 1, where they are.
  __device__ void read_from_before(const Shift& s, const Batched<float>& m,
                                   float (&to)[kRun + 1][Tile::kVec]) const {
    if (inside && t > 0) load_numbers(at(m, Index{first} - 1), to[0]);
#pragma unroll
    for (int i = 0; i < kRun; ++i)
      if (has(s, i)) load_numbers(at(m, Index{first} + i), to[i + 1]);
  }
};

/// b + share (a - b)
__device__ inline float between(float share, float a, float b) {
  return b + share * (a - b);
}

template <class Tile>
__global__ void __launch_bounds__(kThreads)
    shift_forward(Shift s, Batched<float> x, Batched<float> weights,
                  const __grid_constant__ Shifted<float> y) {
  after_previous();
  constexpr int kVec = Tile::kVec;
  const ShiftPlace<Tile> at(s);
  if (!at.inside) return;
  float xs[kRun + 1][kVec] = {};
  at.read_from_before(s, x, xs);
  for (int output = 0; output < s.outputs; ++output) {
    float w[kVec];
    load_numbers(at.at(weights, output), w);
    std::uint32_t t = at.t;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (!at.has(s, i)) break;
      float ys[kVec];
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const float now = xs[i + 1][k], past = t == 0 ? 0.0f : xs[i][k];
        ys[k] = s.of_previous ? between(w[k], past, now) : between(w[k], now, past);
      }
      store_numbers(ys, at.at(y.of[output], Index{at.first} + i));
      t = t + 1 == s.length ? 0 : t + 1;
    }
  }
}

/// dx_t = Σ over outputs of (1 - share) dy_t + share dy_{t+1} with share the previous token's; the
/// block's share of dweights to parts [R, chunks, n, D], unless null.
template <class Tile>
__global__ void __launch_bounds__(kThreads, 2)
    shift_backward(Shift s, Batched<float> x, Batched<float> weights,
                   const __grid_constant__ Shifted<float> dy, Gradient<float> dx, float* parts) {
  after_previous();
  __shared__ float lanes[kMostShifts][Tile::kLanes][Tile::kCols];
  constexpr int kVec = Tile::kVec;
  const ShiftPlace<Tile> at(s);
  float xs[kRun + 1][kVec] = {}, back[kRun][kVec] = {};
  if (parts != nullptr) at.read_from_before(s, x, xs);
  for (int output = 0; output < s.outputs; ++output) {
    float w[kVec] = {}, ds[kRun + 1][kVec] = {}, sum[kVec] = {};
    if (at.inside) load_numbers(at.at(weights, output), w);
#pragma unroll
    for (int i = 0; i <= kRun; ++i)
      if (at.has(s, i)) load_numbers(at.at(dy.of[output], Index{at.first} + i), ds[i]);
    std::uint32_t t = at.t;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      const bool last = t + 1 == s.length;
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const float d = ds[i][k], later = last ? 0.0f : ds[i + 1][k];
        back[i][k] += s.of_previous ? between(w[k], later, d) : between(w[k], d, later);
        const float step = xs[i + 1][k] - (t == 0 ? 0.0f : xs[i][k]);
        sum[k] += s.of_previous ? -d * step : d * step;
      }
      t = last ? 0 : t + 1;
    }
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      lanes[output][at.lane][at.tile_column + k] = sum[k];
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i)
    if (dx.wanted && at.has(s, i))
      write_numbers(back[i], dx.accumulate, at.at(dx.view, Index{at.first} + i));
  if (parts == nullptr) return;
  __syncthreads();
  parts += (Index{blockIdx.z} * gridDim.x + blockIdx.x) * s.outputs * s.cols;
  for (int i = static_cast<int>(threadIdx.x); i < s.outputs * Tile::kCols; i += kThreads) {
    const int output = i / Tile::kCols, tile_column = i % Tile::kCols;
    const Index column = blockIdx.y * Index{Tile::kCols} + tile_column;
    if (column >= s.cols) continue;
    float total = lanes[output][0][tile_column];
#pragma unroll
    for (int lane = 1; lane < Tile::kLanes; ++lane)
      total += lanes[output][lane][tile_column];
    parts[output * s.cols + column] = total;
  }
}

Shift shift_of(bool of_previous, Index length, const Batched<float>& x, Index outputs) {
  check(x.rows < Index{1} << 31, "token_shift", "more tokens than a GPU kernel counts");
  return {of_previous, static_cast<int>(outputs), static_cast<std::uint32_t>(length),
          static_cast<std::uint32_t>(x.rows), x.cols};
}

/// Whether all of them can be read in pieces of four numbers.
bool in_quads(const Shifted<float>& shifted) {
  bool quads = true;
  for (const Batched<float>& tensor : shifted.of)
    quads = quads && in_quads(tensor);
  return quads;
}

/// body(tile, blocks)
template <class Body>
void with_tile(const Batched<float>& x, bool quads, const Body& body) {
  const auto run = [&](auto tile) {
    using Tile = decltype(tile);
    body(tile, dim3(static_cast<unsigned>((x.rows + Tile::kRows - 1) / Tile::kRows),
                    static_cast<unsigned>((x.cols + Tile::kCols - 1) / Tile::kCols),
                    static_cast<unsigned>(x.replicas)));
  };
  if (!quads) return run(SingleTile{});
  x.cols <= NarrowQuadTile::kCols ? run(NarrowQuadTile{}) : run(QuadTile{});
}

}  // namespace

Index token_shift_cuda_scratch(Index replicas, Index rows, Index weights) {
  return replicas * most_chunks(rows) * weights;
}

void token_shift_cuda(const CudaCall& call, bool of_previous, Index length, const Batched<float>& x,
                      const Batched<float>& weights, const Shifted<float>& y) {
  const Shift s = shift_of(of_previous, length, x, weights.rows);
  with_tile(x, in_quads(x) && in_quads(weights) && in_quads(y), [&](auto tile, dim3 blocks) {
    cuda_launch("token_shift_forward", shift_forward<decltype(tile)>,
                {blocks, kThreads, 0, call.stream}, s, x, weights, y);
  });
}

void token_shift_backward_cuda(const CudaCall& call, bool of_previous, Index length,
                               const Batched<float>& x, const Batched<float>& weights,
                               const Shifted<float>& dy, const Gradient<float>& dx,
                               const Gradient<float>& dweights, float* scratch) {
  if (!dx.wanted && !dweights.wanted) return;
  const Shift s = shift_of(of_previous, length, x, weights.rows);
  float* parts = dweights.wanted ? scratch : nullptr;
  const bool quads = in_quads(x) && in_quads(weights) && in_quads(dy) && in_quads(dx.view);
  Index chunks = 0;
  with_tile(x, quads, [&](auto tile, dim3 blocks) {
    cuda_launch("token_shift_backward", shift_backward<decltype(tile)>,
                {blocks, kThreads, 0, call.stream}, s, x, weights, dy, dx, parts);
    chunks = blocks.x;
  });
  sum_partials_cuda(call, x.replicas, {parts, chunks, weights.rows * x.cols, 0, dweights, {}});
}

}  // namespace recallbench
