// Floor: a read once and c written once (four replicas, 65536 rows, 256 -> 40: 310 MB, 75 us; 64 ->
// 64: 134 MB, 32 us). cuBLAS reaches half of it, since its blocks begin with a tile of rows, wait
// for it, multiply, and end with stores.
//
// Here a block keeps the weight, rounded, in shared memory as long as it lives, and each of its
// warps walks tiles of 32 rows by itself: no barriers, so that some warps load while others
// multiply. All sums of a tile are in registers; rows go from memory to the registers they are
// multiplied from, a ring of chunks ahead, on into the next tile. Eight warps have 48 to 64 KB
// under way. Measured at the sizes above: 88 us, where cuBLAS takes 165. From 128 columns on the
// stores are most of it, and cuBLAS, whose stores are larger, was the faster.
#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/matmul/streamed_product.cuh"

namespace recallbench {
namespace {

using namespace streamed;

constexpr int kDepth = 4;                      // chunks of a tile that are under way
constexpr int kMostPairs = 4;                  // of tiles
constexpr std::size_t kMostBytes = 170 << 10;  // the rest holds loads that are under way

/// A warp's place in the product: a tile of rows, how far its next one is.
struct Place {
  int tile, step;

  __device__ explicit Place(const Launch& l)
      : tile(static_cast<int>(threadIdx.x / 32 * l.blocks + blockIdx.x)),
        step(static_cast<int>(kWarps * l.blocks)) {}
  __device__ static Index replica() { return blockIdx.y; }
  /// Where the tile's numbers of c go.
  __device__ float* c(const Launch& l) const {
    return place_of(l.p.c, replica(), Index{tile} * kRows, 0);
  }
  /// Rows of c from the tile on.
  __device__ int rows(const Launch& l) const { return static_cast<int>(l.p.c.rows) - tile * kRows; }
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

/// All columns, of `kPairs` pairs of tiles. blockIdx: block, replica.
template <Precision kPrecision, int kPairs, bool kQuads>
__global__ void __launch_bounds__(kThreads, kPairs == 1 ? 2 : 1) stream_rows(Launch l) {
  after_previous();
  using R = Rounded<kPrecision>;
  constexpr int kTiles = 2 * kPairs;
  extern __shared__ uint4 kept[];
  std::uint32_t* const fragments = reinterpret_cast<std::uint32_t*>(kept);
  Place at(l);
  keep_weight<kPrecision, kTiles>(l, at.replica(), fragments);
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
    sums.begin(l, bias, at.c(l), at.rows(l));
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
    sums.store(l, at.c(l), at.rows(l));
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

template <Precision kPrecision>
Launch plan(const StreamedProduct& p) {
  Launch l{.p = p, .in = static_cast<int>(p.a.cols), .out = static_cast<int>(p.c.cols)};
  l.quads = in_quads(p.c);
  l.weight_quads = in_quads(p.weight);
  l.chunks = pieces(pieces(l.in, kChunk), kDepth) * kDepth;
  l.pairs = to_power(pieces(l.out, kPair));
  return l;
}

/// Whether the weight fits beside the loads that are under way, and the columns into registers.
template <Precision kPrecision>
bool fits(const StreamedProduct& p) {
  const Launch l = plan<kPrecision>(p);
  return l.pairs <= kMostPairs &&
         kept_bytes<kPrecision>(l.chunks, l.pairs) <= std::min(kMostBytes, cuda_shared_limit());
}

template <Precision kPrecision, class Kernel>
void launch(const CudaCall& call, Launch l, int blocks_each, Kernel* kernel) {
  const std::size_t bytes = kept_bytes<kPrecision>(l.chunks, l.pairs);
  constexpr std::size_t kReserved = 1024;  // of every block, by the GPU
  if (2 * (bytes + kReserved) > cuda_shared_limit() + kReserved) blocks_each = 1;
  const Index room = Index{cuda_multiprocessors()} * blocks_each / l.p.c.replicas;
  l.blocks = static_cast<unsigned>(std::clamp<Index>(room, 1, pieces(l.p.c.rows, kRows)));
  cuda_allow_shared(kernel, bytes, "linear");
  cuda_launch("linear", kernel,
              {dim3(l.blocks, static_cast<unsigned>(l.p.c.replicas)), kThreads, bytes, call.stream},
              l);
}

template <Precision kPrecision, bool kQuads>
void launch(const CudaCall& call, const Launch& l) {
  switch (l.pairs) {
    case 1:
      return launch<kPrecision>(call, l, 2, stream_rows<kPrecision, 1, kQuads>);
    case 2:
      return launch<kPrecision>(call, l, 1, stream_rows<kPrecision, 2, kQuads>);
    default:
      return launch<kPrecision>(call, l, 1, stream_rows<kPrecision, 4, kQuads>);
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
  return call.precision == Precision::bf16 ? fits<Precision::bf16>(p) : fits<Precision::tf32>(p);
}

void streamed_product_cuda(const CudaCall& call, const StreamedProduct& p) {
  if (call.precision == Precision::bf16)
    launch<Precision::bf16>(call, p);
  else
    launch<Precision::tf32>(call, p);
}

}  // namespace recallbench
