// Floor: a read once and c written once (four replicas, 65536 rows, 128 -> 512: 671 MB, 160 us; 256
// -> 40: 310 MB, 75 us). cuBLAS reaches half of it to two thirds, since its blocks begin with a
// tile of rows, wait for it, multiply, and end with stores.
//
// Here a block keeps its columns of the weight, rounded, in shared memory as long as it lives, and
// each of its warps walks tiles of 32 rows by itself: no barriers, so that some warps load while
// others multiply. Rows go from memory to the registers they are multiplied from. Two forms:
// - few columns (stream_inner): all sums of a tile are in registers, the inner numbers stream past,
//   a ring of chunks ahead, on into the next tile. Eight warps have 48 to 64 KB under way.
// - few inner numbers (stream_columns): a tile's rows are in registers, rounded once, and the
//   columns pass by in groups of 32. A multiprocessor's other warps load meanwhile. Where the
//   weight is cut in slices the later ones find the rows in L2.
#include <algorithm>

#include "kernels/cuda/shared_memory.h"
#include "kernels/matmul/streamed_product.cuh"

namespace recallbench {
namespace {

using namespace streamed;

constexpr int kDepth = 4;                      // chunks of a tile that are under way
constexpr int kMostPairs = 8;                  // of stream_inner
constexpr int kMostChunks = 8;                 // of stream_columns
constexpr std::size_t kMostBytes = 170 << 10;  // the rest holds loads that are under way

/// A warp's place in the product: a tile of rows, how far its next one is.
struct Place {
  int tile, step;

  __device__ explicit Place(const Launch& l)
      : tile(static_cast<int>(threadIdx.x / 32 * l.blocks + blockIdx.x / l.slices)),
        step(static_cast<int>(kWarps * l.blocks)) {}
  __device__ static Index replica() { return blockIdx.y; }
  /// The slice's first column.
  __device__ static Index first(const Launch& l) {
    return Index{blockIdx.x % l.slices * l.pairs * kPair};
  }
  /// Where the tile's numbers of c go, from a pair of the slice on.
  __device__ float* c(const Launch& l, int pair) const {
    return place_of(l.p.c, replica(), Index{tile} * kRows, first(l) + pair * kPair);
  }
  /// Rows of c from the tile on, columns from a pair on.
  __device__ int rows(const Launch& l) const { return static_cast<int>(l.p.c.rows) - tile * kRows; }
  __device__ static int left(const Launch& l, int pair) {
    return static_cast<int>(l.out - first(l)) - pair * kPair;
  }
};

/// This lane's four rows of a tile; past the last row, that one.
struct Rows {
  std::uint32_t at[4];  // where its quad of chunk 0 begins, in numbers from the replica's first

  __device__ void point(const Launch& l, int tile) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = min(tile * kRows + lane / 4 + 8 * i, static_cast<int>(l.p.a.rows) - 1);
      at[i] =
          static_cast<std::uint32_t>(row) * static_cast<std::uint32_t>(l.p.a.stride) + lane % 4 * 4;
    }
  }
  template <bool kQuads>
  __device__ void load(const Launch& l, int chunk, float (&to)[4][4]) const {
    const float* a = l.p.a.data + Place::replica() * l.p.a.replica_stride + chunk * kChunk;
    const int left = l.in - chunk * kChunk - static_cast<int>(threadIdx.x) % 4 * 4;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      load_quad<kQuads>(a + at[i], left, to[i]);
  }
};

template <Precision kPrecision>
__device__ void round_rows(const float (&from)[4][4],
                           std::uint32_t (&to)[4][Rounded<kPrecision>::kWords]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
    Rounded<kPrecision>::round(from[i], to[i]);
}

/// Of a slice of `kPairs` pairs of tiles all the inner sum. blockIdx: block and slice, replica.
template <Precision kPrecision, int kPairs, bool kQuads>
__global__ void __launch_bounds__(kThreads, kPairs == 1 ? 2 : 1) stream_inner(Launch l) {
  using R = Rounded<kPrecision>;
  constexpr int kTiles = 2 * kPairs;
  extern __shared__ uint4 kept[];
  std::uint32_t* const fragments = reinterpret_cast<std::uint32_t*>(kept);
  Place at(l);
  keep_weight<kPrecision, kTiles, 0>(l, at.replica(), at.first(l), fragments);
  const float* bias =
      reinterpret_cast<const float*>(fragments + l.chunks * kTiles * 32 * R::kWords);
  const int tiles = static_cast<int>((l.p.c.rows + kRows - 1) / kRows);
  const std::uint32_t* lane = fragments + threadIdx.x % 32 * R::kWords;
  Rows rows;
  float ring[kDepth][4][4];
  rows.point(l, at.tile);
#pragma unroll
  for (int u = 0; u < kDepth; ++u)
    rows.load<kQuads>(l, u, ring[u]);
  for (; at.tile < tiles; at.tile += at.step) {
    Sums<kPairs, kQuads && kPairs != 1> sums;
    sums.begin(l, bias, at.c(l, 0), at.rows(l), at.left(l, 0));
    for (int chunk = 0; chunk < l.chunks; chunk += kDepth) {
      const bool last = chunk + kDepth >= l.chunks;  // what is loaded now is the next tile's
      const int ahead = last ? 0 : chunk + kDepth;
      if (last) rows.point(l, at.tile + at.step);
#pragma unroll
      for (int u = 0; u < kDepth; ++u) {
        std::uint32_t a[4][R::kWords];
        round_rows<kPrecision>(ring[u], a);
        rows.load<kQuads>(l, ahead + u, ring[u]);
        __syncwarp();  // else they would be moved to where they are needed
        const std::uint32_t* from = lane + (chunk + u) * (kTiles * 32 * R::kWords);
#pragma unroll
        for (int j = 0; j < kTiles; ++j) {
          std::uint32_t b[R::kWords];
          R::load(from + j * 32 * R::kWords, b);
          R::multiply(a[0], a[1], b, sums.at[0][j]);
          R::multiply(a[2], a[3], b, sums.at[1][j]);
        }
      }
    }
    sums.store(l, at.c(l, 0), at.rows(l), at.left(l, 0));
  }
}

/// Of `kChunks` chunks all columns of a slice. blockIdx: block and slice, replica.
template <Precision kPrecision, int kChunks, bool kQuads>
__global__ void __launch_bounds__(kThreads, kChunks <= 4 ? 2 : 1) stream_columns(Launch l) {
  using R = Rounded<kPrecision>;
  constexpr int kGroup = 2;  // pairs of tiles at a time
  extern __shared__ uint4 kept[];
  std::uint32_t* const fragments = reinterpret_cast<std::uint32_t*>(kept);
  Place at(l);
  keep_weight<kPrecision, 0, kChunks>(l, at.replica(), at.first(l), fragments);
  const float* bias =
      reinterpret_cast<const float*>(fragments + kChunks * 2 * l.pairs * 32 * R::kWords);
  const int tiles = static_cast<int>((l.p.c.rows + kRows - 1) / kRows);
  for (; at.tile < tiles; at.tile += at.step) {
    Rows rows;
    rows.point(l, at.tile);
    float loaded[kChunks][4][4];
#pragma unroll
    for (int k = 0; k < kChunks; ++k)
      rows.load<kQuads>(l, k, loaded[k]);
    std::uint32_t a[kChunks][4][R::kWords];
#pragma unroll
    for (int k = 0; k < kChunks; ++k)
      round_rows<kPrecision>(loaded[k], a[k]);
    const std::uint32_t* from = fragments + threadIdx.x % 32 * R::kWords;
    for (int pair = 0; pair < l.pairs; pair += kGroup) {
      const int left = at.left(l, pair);
      if (left <= 0) break;  // the last slice may have fewer
      float* const c = at.c(l, pair);
      Sums<kGroup, kQuads> sums;
      sums.begin(l, bias + pair * kPair, c, at.rows(l), left);
#pragma unroll
      for (int k = 0; k < kChunks; ++k)
#pragma unroll
        for (int j = 0; j < 2 * kGroup; ++j) {
          std::uint32_t b[R::kWords];
          R::load(from + (j * kChunks + k) * 32 * R::kWords, b);
          R::multiply(a[k][0], a[k][1], b, sums.at[0][j]);
          R::multiply(a[k][2], a[k][3], b, sums.at[1][j]);
        }
      sums.store(l, c, at.rows(l), left);
      from += 2 * kGroup * kChunks * 32 * R::kWords;
    }
  }
}

int pieces(Index size, int piece) {
  return static_cast<int>((size + piece - 1) / piece);
}

/// `size` rounded up to a power of two.
int to_power(int size) {
  int power = 1;
  while (power < size)
    power *= 2;
  return power;
}

/// The form of a product, its chunks, slices and pairs; no slices where cuBLAS does better. Each
/// slice reads the rows again, through L2, so there may be few. Larger products are bound by the
/// tensor cores, for which cuBLAS has the faster instructions.
template <Precision kPrecision>
Launch plan(const StreamedProduct& p) {
  const std::size_t most = std::min(kMostBytes, cuda_shared_limit());
  Launch l{.p = p, .in = static_cast<int>(p.a.cols), .out = static_cast<int>(p.c.cols)};
  l.quads = in_quads(p.c);
  l.weight_quads = in_quads(p.weight);
  l.chunks = pieces(l.in, kChunk);
  const int pairs = pieces(l.out, kPair);
  l.by_columns = l.chunks <= kMostChunks && (pairs > kMostPairs || (pairs > 2 && l.chunks <= 2));
  if (!l.by_columns) {
    l.chunks = pieces(l.chunks, kDepth) * kDepth;
    l.pairs = to_power(std::min(pairs, kMostPairs));
    l.slices = static_cast<unsigned>(pieces(pairs, l.pairs));
    if (l.slices > 2 || kept_bytes<kPrecision>(l.chunks, l.pairs) > most) l.slices = 0;
  } else {
    l.chunks = to_power(l.chunks);
    for (l.slices = 1;; ++l.slices) {
      l.pairs = pieces(pairs, 2 * l.slices) * 2;
      if (kept_bytes<kPrecision>(l.chunks, l.pairs) <= most) break;
    }
    if (l.slices > 4) l.slices = 0;
  }
  return l;
}

template <Precision kPrecision, class Kernel>
void launch(const CudaCall& call, Launch l, int blocks_each, Kernel* kernel) {
  const std::size_t bytes = kept_bytes<kPrecision>(l.chunks, l.pairs);
  constexpr std::size_t kReserved = 1024;  // of every block, by the GPU
  if (2 * (bytes + kReserved) > cuda_shared_limit() + kReserved) blocks_each = 1;
  const Index room = Index{cuda_multiprocessors()} * blocks_each / (l.p.c.replicas * l.slices);
  l.blocks = static_cast<unsigned>(std::clamp<Index>(room, 1, pieces(l.p.c.rows, kRows)));
  cuda_allow_shared(kernel, bytes, "linear");
  const dim3 blocks(l.blocks * l.slices, static_cast<unsigned>(l.p.c.replicas));
  kernel<<<blocks, kThreads, bytes, call.stream>>>(l);
  cuda_check_launch("linear");
}

template <Precision kPrecision, bool kQuads>
void launch(const CudaCall& call, const Launch& l) {
  if (l.by_columns) {
    switch (l.chunks) {
      case 1:
        return launch<kPrecision>(call, l, 2, stream_columns<kPrecision, 1, kQuads>);
      case 2:
        return launch<kPrecision>(call, l, 2, stream_columns<kPrecision, 2, kQuads>);
      case 4:
        return launch<kPrecision>(call, l, 2, stream_columns<kPrecision, 4, kQuads>);
      default:
        return launch<kPrecision>(call, l, 1, stream_columns<kPrecision, 8, kQuads>);
    }
  }
  switch (l.pairs) {
    case 1:
      return launch<kPrecision>(call, l, 2, stream_inner<kPrecision, 1, kQuads>);
    case 2:
      return launch<kPrecision>(call, l, 1, stream_inner<kPrecision, 2, kQuads>);
    case 4:
      return launch<kPrecision>(call, l, 1, stream_inner<kPrecision, 4, kQuads>);
    default:
      return launch<kPrecision>(call, l, 1, stream_inner<kPrecision, 8, kQuads>);
  }
}

template <Precision kPrecision>
void launch(const CudaCall& call, const StreamedProduct& p) {
  const Launch l = plan<kPrecision>(p);
  if (in_quads(p.a) && (l.quads || l.pairs == 1))
    launch<kPrecision, true>(call, l);
  else
    launch<kPrecision, false>(call, l);
}

}  // namespace

bool streamed_product_fits(const CudaCall& call, const StreamedProduct& p) {
  const Index most = Index{1} << 31;  // numbers that an offset within a replica can count
  if (call.precision == Precision::fp32 || p.a.rows * p.a.stride >= most) return false;
  return (call.precision == Precision::bf16 ? plan<Precision::bf16>(p) : plan<Precision::tf32>(p))
             .slices > 0;
}

void streamed_product_cuda(const CudaCall& call, const StreamedProduct& p) {
  if (call.precision == Precision::bf16)
    launch<Precision::bf16>(call, p);
  else
    launch<Precision::tf32>(call, p);
}

}  // namespace recallbench
