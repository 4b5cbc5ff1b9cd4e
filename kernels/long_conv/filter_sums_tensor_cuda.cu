// The filter's gradient on tensor cores. Floor: the bytes of u and dy, 8 a number, and L FLOPs a
// number, as the convolution (long_conv_tensor_cuda.cu).
//
// dk[d] = Σ dy[t] u[t - d] in tiles [16 t, 8 s] whose t0 - s0 are the multiples of 16: the sums of
// a tile stay in registers over all examples of a slice and all times of its distance, and its
// diagonals are added last. A block takes a few channels and examples through time, 64 times of dy
// at a time with all of u up to there in shared memory, while the next chunks are on their way: one
// barrier a step. It reads each number of them once or twice for 16 products of 16 x 8 x 8.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/long_conv/tiles.cuh"

namespace recallbench {
namespace {

using namespace long_conv_tiles;

constexpr int kExamples = 4;  // of a step
constexpr int kChannels = 8;  // a warp each
constexpr int kDySlots = 3;   // tiles: of this step and the next two
using Moved = Share<kChannels, kExamples, false, true>;

/// sums[n] += of distances from 16 n beyond `distance` on, over 64 times: dy[i] a fragment of its
/// times from 16 i on, u[i] two neighbouring blocks of 8 times 16 (i - 3) beyond `distance` before.
/// On the diagonal those before time 0 are left out.
template <bool kDiagonal>
__device__ void add_distances(float (&sums)[4][4], const std::uint32_t (&dy)[4][4],
                              const std::uint32_t (&u)[7][2]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int n = 0; n < 4; ++n)
      if (!kDiagonal || n <= i) mma_tf32(sums[n], dy[i], u[i - n + 3]);
}

__device__ void load_pair(const float* from, std::uint32_t (&to)[2]) {
  const uint2 two = *reinterpret_cast<const uint2*>(from);
  to[0] = two.x;
  to[1] = two.y;
}

/// Fragments of dy. The inner index of a product is an example, now at the times t0 and now 8
/// later: both lie at one distance from their u. `after`: the 8 times after the chunk.
__device__ void load_fragments(const float* dy, std::uint32_t after, std::uint32_t (&x)[4][4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint2 two = *reinterpret_cast<const uint2*>(dy + 16 * i);
    x[i][0] = two.x;
    x[i][1] = two.y;
    // Read again: a product wants its four numbers in registers of their own.
    const auto* again = reinterpret_cast<const volatile std::uint32_t*>(dy + 16 * i);
    x[i][2] = again[1];
    if (i > 0) x[i - 1][3] = again[0];
  }
  x[3][3] = after;
}

/// Where number j of row i of a channel's sums lies: dk[d] = Σ_j of (d + j, j). Writing 8 rows and
/// reading 4 rows of 8 channels meet no bank twice.
__device__ int place_of_sum(int channel, int length, int i, int j) {
  return channel * (8 * (length + 4) + 32 / kChannels) + j * (length + 4) + i;
}

/// parts [R, slices, taps, D]: Σ dy[t] u[t - d] over the examples of a slice. A warp a channel.
/// Chunks are copied two steps before they are brought to their tiles; dy, of which a product reads
/// 8 times beyond its chunk, is a chunk ahead of u.
template <int kWindows>
__global__ void __launch_bounds__(32 * kChannels, 16 / kChannels)
    filter_sums_tiles(LongConvSize s, Index slice_examples, Batched<float> u, Batched<float> dy,
                      float* parts, bool quads) {
  after_previous();
  extern __shared__ __align__(16) float shared[];
  constexpr int kSlots = kWindows + 1;
  const int chunks = chunks_of(s.length), length = chunks * kChunk;
  const int warp = static_cast<int>(threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const auto groups = static_cast<unsigned>(ceil_div(s.channels, kChannels));
  const Index channel = Index{blockIdx.x % groups} * kChannels, slice = blockIdx.x / groups;
  const Index first = slice * slice_examples, last = min(s.examples, first + slice_examples);
  const Moved of_u(u, s, channel, last, quads), of_dy(dy, s, channel, last, quads);
  float* const us = shared + 4 * Moved::kCopies;
  float* const dys = us + kSlots * Moved::kTile;

  ChunkPlace u_copied{first, 0}, dy_copied{first, 0};
  int copies = 0, u_slot = 0, dy_slot = 0;  // of the next to be brought
  const auto copy_dy = [&] {
    if (dy_copied.example < last) of_dy.copy(dy_copied, shared + copies + Moved::kCopies);
    copies_end_group();
    copies = 2 * Moved::kCopies - copies;
    u_copied = dy_copied;
    if (++dy_copied.chunk < chunks) return;
    dy_copied.chunk = 0;
    dy_copied.example += kExamples;
  };
  const auto copy = [&] {
    if (u_copied.example < last) of_u.copy(u_copied, shared + copies);
    copy_dy();
  };
  const auto bring_dy = [&] {
    of_dy.bring(shared + copies + Moved::kCopies, dys + dy_slot * Moved::kTile);
    dy_slot = next_in_ring(dy_slot, kDySlots);
  };
  const auto bring = [&] {
    of_u.bring(shared + copies, us + u_slot * Moved::kTile);
    u_slot = next_in_ring(u_slot, kSlots);
    bring_dy();
  };
  copy_dy();
  copy();
  copies_wait<1>();
  bring_dy();
  copy();
  copies_wait<1>();
  bring();
  copy();

  float sums[kWindows][4][4] = {};
  const int of_lane = warp * Moved::kChannel + t * Moved::kExample + 2 * g;
  int present = 0, present_dy = 0, chunk = 0;  // slots, and which chunk it is
  for (int steps = static_cast<int>(ceil_div(last - first, kExamples)) * chunks; steps > 0;
       --steps) {
    copies_wait<1>();
    __syncthreads();
    bring();
    copy();
    std::uint32_t x[4][4], pairs[7][2];
    const float* of_dy = dys + present_dy * Moved::kTile + of_lane;
    present_dy = next_in_ring(present_dy, kDySlots);
    load_fragments(
        of_dy, chunk + 1 < chunks ? __float_as_uint(dys[present_dy * Moved::kTile + of_lane]) : 0,
        x);
    int slot = present;
    const float* of_u = us + slot * Moved::kTile + of_lane;
#pragma unroll
    for (int window = 0; window < kWindows; ++window) {
      if (window > chunk || window * kChunk >= s.taps + 7) continue;
      if (window == 0) {
#pragma unroll
        for (int i = 4; i < 7; ++i)
          load_pair(of_u + 16 * (i - 3), pairs[i]);
      } else {
#pragma unroll
        for (int i = 0; i < 3; ++i)
#pragma unroll
          for (int k = 0; k < 2; ++k)
            pairs[4 + i][k] = pairs[i][k];
      }
      load_pair(of_u, pairs[3]);
      if (window == chunk) {
        add_distances<true>(sums[window], x, pairs);
      } else {
        slot = slot > 0 ? slot - 1 : kSlots - 1;
        of_u = us + slot * Moved::kTile + of_lane;
#pragma unroll
        for (int i = 0; i < 3; ++i)
          load_pair(of_u + kChunk + 16 * (i - 3), pairs[i]);
        add_distances<false>(sums[window], x, pairs);
      }
    }
    present = next_in_ring(present, kSlots);
    chunk = next_in_ring(chunk, chunks);
  }
  copies_wait<0>();
  __syncthreads();

  float* const even = shared + place_of_sum(warp, length, g, 2 * t);
  float* const odd = shared + place_of_sum(warp, length, g, 2 * t + 1);
#pragma unroll
  for (int m = 0; m < 4 * kWindows; ++m) {
    if (16 * m >= length) continue;
    const float(&sum)[4] = sums[m / 4][m % 4];
    even[16 * m] = sum[0];
    odd[16 * m] = sum[1];
    even[16 * m + 8] = sum[2];
    odd[16 * m + 8] = sum[3];
  }
  __syncthreads();
  const int thread = warp * 32 + lane, c = thread % kChannels;
  float* part = parts +
                (blockIdx.y * ceil_div(s.examples, slice_examples) + slice) * s.taps * s.channels +
                channel + c;
  if (channel + c >= s.channels) return;
  for (int d = thread / kChannels; d < s.taps; d += 32) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j)
      if (d + j < length) sum += shared[place_of_sum(c, length, d + j, j)];
    part[d * s.channels] = sum;
  }
}

template <int kWindows>
std::size_t shared_bytes() {
  return (4 * Moved::kCopies + (kWindows + 1 + kDySlots) * Moved::kTile) * sizeof(float);
}

template <int kWindows>
void filter_sums(const CudaCall& call, const LongConvSize& s, Index slice_examples,
                 const Batched<float>& u, const Batched<float>& dy, float* parts) {
  const auto kernel = filter_sums_tiles<kWindows>;
  const std::size_t bytes = shared_bytes<kWindows>();
  cuda_allow_shared(kernel, bytes, "filter_sums_tiles");
  cuda_launch("filter_sums_tiles", kernel,
              {grid_of(s, kChannels, ceil_div(s.examples, slice_examples)), dim3(32, kChannels),
               bytes, call.stream},
              s, slice_examples, u, dy, parts, in_quads(u) && in_quads(dy));
}

}  // namespace

std::size_t long_conv_tensor_sums_bytes(const LongConvSize& s) {
  return s.length <= kChunk       ? shared_bytes<1>()
         : s.length <= 2 * kChunk ? shared_bytes<2>()
                                  : shared_bytes<4>();
}

void long_conv_tensor_sums_cuda(const CudaCall& call, const LongConvSize& s, Index slice_examples,
                                const Batched<float>& u, const Batched<float>& dy, float* parts) {
  if (s.length <= kChunk)
    filter_sums<1>(call, s, slice_examples, u, dy, parts);
  else if (s.length <= 2 * kChunk)
    filter_sums<2>(call, s, slice_examples, u, dy, parts);
  else
    filter_sums<4>(call, s, slice_examples, u, dy, parts);
}

}  // namespace recallbench
