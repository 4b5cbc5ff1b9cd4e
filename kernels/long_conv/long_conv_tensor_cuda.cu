// The direct form on tensor cores. Floor: the bytes of u and y, 8 a number, 128 us for the 67 M
// numbers of R = 4, B = 256, L = 256, D = 256 at 4.2 TB/s; L FLOPs a number, 17 GFLOP, take about
// 60 us of tensor cores beside them.
//
// Of one channel, y [t, example] = T u [s, example] with T [t, s] = k[t - s]. A block takes a few
// channels and examples through time, 64 times at a time: a chunk of u is multiplied with all times
// of a span of up to 256 that it reaches, whose sums stay in registers, while the next chunks are
// on their way. The sums of the chunk's own times are then complete, take its place in shared
// memory and leave in the next step: one barrier a step. A fragment of T depends on t - s alone:
// each is loaded once a chunk, for four products.
#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/long_conv/tiles.cuh"

namespace recallbench {
namespace {

using namespace long_conv_tiles;

// Zeros before a filter's first tap: what tiles on the diagonal read ahead of it.
constexpr int kAhead = 16;
constexpr int kExamples = 8;     // of a step: the columns of a product
constexpr int kSlots = 3;        // tiles: of the next step, this and the one before
constexpr int kMostWindows = 4;  // of 64 times in a span
constexpr Index kSpan = kMostWindows * kChunk;
constexpr Index kMultiprocessors = 132;  // of a large GPU

/// Two taps 8 apart.
struct TapPair {
  float tap, later;
};

/// Sums of 16 times and 8 examples.
using Sums = float[4];

/// sums[n] += T u of the tiles [16 t, 8 s] whose t0 - s0 are 8 m, for m from kFirst to kEnd - 1 and
/// n up to kTiles - 1. `taps` is the lane's of distance 0, u[j] its numbers of 8 times s.
template <int kFirst, int kEnd, int kTiles, int kAll>
__device__ void add_tiles(Sums (&sums)[kAll], const TapPair* taps, const std::uint32_t (&u)[8][2]) {
#pragma unroll
  for (int m = kFirst; m < kEnd; ++m) {
    const TapPair near = taps[8 * m], far = taps[8 * m - 1];
    const std::uint32_t fragment[4] = {__float_as_uint(near.tap), __float_as_uint(near.later),
                                       __float_as_uint(far.tap), __float_as_uint(far.later)};
#pragma unroll
    for (int j = 0; j < 8; ++j)
      if ((m + j) % 2 == 0 && m + j >= 0 && m + j < 2 * kTiles)
        mma_tf32(sums[(m + j) / 2], fragment, u[j]);
  }
}

/// A chunk of u [64 s, 8 examples] on windows kWindow to `last` of 64 times.
template <int kWindow, int kAll>
__device__ void add_windows(Sums (&sums)[kAll], const TapPair* taps, const std::uint32_t (&u)[8][2],
                            int last) {
  constexpr int kFirst = 8 * kWindow - 1, kTiles = 4 * kWindow + 4;
  if (kTiles == kAll || last == kWindow) {
    add_tiles<kFirst, kFirst + 8, kTiles>(sums, taps, u);
  } else {
    add_tiles<kFirst, kFirst + 8, kAll>(sums, taps, u);
    if constexpr (kTiles < kAll) add_windows<kWindow + 1>(sums, taps, u, last);
  }
}

/// The example of a product's column: neighbouring columns, and every second, in different banks.
__device__ int example_of(int column) {
  return column ^ (column >> 2);
}

/// The walk of a block through its chunks: of each group of examples, of each span of times of the
/// output, those that it reads. One span is all where not kLong.
template <bool kLong>
struct Walk {
  ChunkPlace at;
  int span = 0;  // its first chunk

  __device__ void advance(int chunks, int reach) {
    if (++at.chunk < end(chunks)) return;
    span = kLong && span + kMostWindows < chunks ? span + kMostWindows : 0;
    if (span == 0) at.example += kExamples;
    at.chunk = kLong ? max(0, span - reach) : 0;
  }
  __device__ int end(int chunks) const { return kLong ? min(chunks, span + kMostWindows) : chunks; }
  /// Chunks from this one to its span; 0 in the span.
  __device__ int before() const { return kLong ? max(0, span - at.chunk) : 0; }
};

/// A chunk of one channel on windows up to `last`. The first is the chunk itself, and its sums take
/// the place of the numbers in `u`, unless the span begins so many chunks later, and they with it.
template <bool kLong, int kWindows, class Tile>
__device__ void convolve_chunk(Sums (&sums)[4 * kWindows], float* u, const TapPair* taps,
                               int before, int last) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  std::uint32_t numbers[8][2];
  const float* of_lane = u + example_of(g) * Tile::kExample + 2 * t;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const uint2 two = *reinterpret_cast<const uint2*>(of_lane + 8 * j);
    numbers[j][0] = two.x;
    numbers[j][1] = two.y;
  }
  taps += g - 2 * t;
  if constexpr (kLong)
    if (before > 0) {
      taps += before * kChunk;
      add_tiles<-7, -1, 4 * kWindows>(sums, taps, numbers);
    }
  add_windows<0>(sums, taps, numbers, last);
  if (kLong && before > 0) return;
  __syncwarp();
  float* even = u + example_of(2 * t) * Tile::kExample + g;
  float* odd = u + example_of(2 * t + 1) * Tile::kExample + g;
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    even[16 * n] = sums[n][0];
    odd[16 * n] = sums[n][1];
    even[16 * n + 8] = sums[n][2];
    odd[16 * n + 8] = sums[n][3];
  }
#pragma unroll
  for (int n = 0; n < 4 * kWindows; ++n)
#pragma unroll
    for (int k = 0; k < 4; ++k)
      sums[n][k] = n + 4 < 4 * kWindows ? sums[n + 4][k] : 0.0f;
}

/// Channels' filters, rounded, zero beyond their taps, by channel and distance from -kAhead on.
/// Neighbouring threads take neighbouring channels.
template <int kWindows, int kChannels>
__device__ void load_filters(const Batched<float>& filter, const LongConvSize& s, Index channel,
                             int distances, TapPair* filters) {
  constexpr int kLoads = 2 * kWindows + 1;
  const int thread = static_cast<int>(threadIdx.y * 32 + threadIdx.x), c = thread % kChannels;
  const float* taps = filter.data + blockIdx.y * filter.replica_stride + channel + c;
  const int there = channel + c < s.channels ? static_cast<int>(s.taps) : 0;
  TapPair* to = filters + c * (kAhead + distances) + kAhead;
  for (int first = thread / kChannels - kAhead; first < distances; first += 32 * kLoads) {
    float loaded[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int d = first + 32 * i;
      loaded[i] = d >= 0 && d < there ? taps[d * filter.stride] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int d = first + 32 * i;
      const float tap = __uint_as_float(tf32_bits(loaded[i]));
      if (d >= distances) break;
      to[d].tap = tap;
      if (d >= 8 - kAhead) to[d - 8].later = tap;
    }
  }
}

/// out[t] = Σ_s filter[t - s] values[s], or with kReversed out[s] = Σ_t filter[t - s] values[t]:
/// the same with time running back. A warp a channel. A chunk is copied two steps before it is
/// brought to its tile; where sums are added to what is there, one step, and that beside it.
template <bool kReversed, bool kLong, int kWindows, int kChannels>
__global__ void __launch_bounds__(32 * kChannels, 16 / kChannels)
    convolve_tiles(LongConvSize s, Index block_examples, Batched<float> values,
                   Batched<float> filter, Gradient<float> out, bool quads) {
  after_previous();
  extern __shared__ __align__(16) float shared[];
  using Moved = Share<kChannels, kExamples, kReversed, false>;
  const int warp = static_cast<int>(threadIdx.y), chunks = chunks_of(s.length);
  const int reach = static_cast<int>((s.taps + kChunk - 2) / kChunk);
  const auto groups = static_cast<unsigned>(ceil_div(s.channels, kChannels));
  const Index channel = Index{blockIdx.x % groups} * kChannels;
  const Index first = blockIdx.x / groups * block_examples;
  const Index last = min(s.examples, first + block_examples);
  const Moved moved(values, s, channel, last, quads), moved_out(out.view, s, channel, last, quads);
  float* const tiles = shared + 2 * Moved::kCopies;
  auto* const filters = reinterpret_cast<TapPair*>(tiles + kSlots * Moved::kTile);
  const TapPair* taps = filters + warp * (kAhead + chunks * kChunk) + kAhead;

  Walk<kLong> copied{{first, 0}}, present = copied;
  int copies = 0;
  const auto copy = [&] {
    if (copied.at.example < last) moved.copy(copied.at, shared + copies);
    copies_end_group();
    copied.advance(chunks, reach);
    if (!out.accumulate) copies = Moved::kCopies - copies;
  };
  const auto wait = [&] {
    if (out.accumulate)
      copies_wait<0>();
    else
      copies_wait<1>();
  };
  const auto bring = [&](int slot) {
    moved.bring(shared + copies, tiles + slot * Moved::kTile);
    copy();
  };
  copy();
  if (!out.accumulate) copy();
  load_filters<kWindows, kChannels>(filter, s, channel, chunks * kChunk, filters);
  wait();
  bring(0);

  Sums sums[4 * kWindows] = {};
  ChunkPlace before{first, 0};
  bool taken = true;  // of the step before
  for (int slot = 0, slot_before = 0;;) {
    wait();
    __syncthreads();
    if (!taken)
      moved_out.take(before, tiles + slot_before * Moved::kTile,
                     out.accumulate ? shared + Moved::kCopies : nullptr);
    if (present.at.example >= last) break;
    const int later = present.before();
    taken = later > 0;
    if (out.accumulate && !taken) moved_out.copy(present.at, shared + Moved::kCopies);
    const int next = next_in_ring(slot, kSlots);
    bring(next);
    convolve_chunk<kLong, kWindows, Moved>(
        sums, tiles + slot * Moved::kTile + warp * Moved::kChannel, taps, later,
        min(reach, present.end(chunks) - 1 - present.at.chunk) - later);
    before = present.at;
    slot_before = slot;
    slot = next;
    present.advance(chunks, reach);
  }
}

/// Examples of a block, so that blocks are long and all are over at about one time. Blocks that add
/// to what is there are faster short.
Index block_examples(const LongConvSize& s, int channels, bool accumulate) {
  constexpr Index kStart = 2, kMostToAdd = 8;  // steps
  const Index groups = ceil_div(s.examples, kExamples), chunks = chunks_of(s.length);
  const Index at_once = kMultiprocessors * (16 / channels);
  const Index most = accumulate ? std::clamp<Index>(kMostToAdd / chunks, 1, groups) : groups;
  Index best = 1, least = 0;
  for (Index n = 1; n <= most; ++n) {
    const Index blocks = s.replicas * ceil_div(s.channels, channels) * ceil_div(groups, n);
    const Index steps = ceil_div(blocks, at_once) * (n * chunks + kStart);
    if (n > 1 && steps > least) continue;
    best = n;
    least = steps;
  }
  return best * kExamples;
}

template <bool kReversed, int kChannels>
std::size_t shared_bytes(const LongConvSize& s) {
  using Moved = Share<kChannels, kExamples, kReversed, false>;
  return (2 * Moved::kCopies + kSlots * Moved::kTile +
          2 * kChannels * (kAhead + chunks_of(s.length) * kChunk)) *
         sizeof(float);
}

template <bool kReversed, bool kLong, int kWindows, int kChannels>
void launch(const CudaCall& call, const LongConvSize& s, const Batched<float>& values,
            const Batched<float>& filter, const Gradient<float>& out) {
  const auto kernel = convolve_tiles<kReversed, kLong, kWindows, kChannels>;
  const std::size_t bytes = shared_bytes<kReversed, kChannels>(s);
  const Index examples = block_examples(s, kChannels, out.accumulate);
  cuda_allow_shared(kernel, bytes, "convolve_tiles");
  cuda_launch("convolve_tiles", kernel,
              {grid_of(s, kChannels, ceil_div(s.examples, examples)), dim3(32, kChannels), bytes,
               call.stream},
              s, examples, values, filter, out, in_quads(values) && in_quads(out.view));
}

template <bool kReversed, int kWindows>
void convolve(const CudaCall& call, const LongConvSize& s, const Batched<float>& values,
              const Batched<float>& filter, const Gradient<float>& out) {
  if (shared_bytes<kReversed, 16>(s) <= cuda_shared_limit())
    launch<kReversed, false, kWindows, 16>(call, s, values, filter, out);
  else
    launch<kReversed, false, kWindows, 8>(call, s, values, filter, out);
}

template <bool kReversed>
void convolve(const CudaCall& call, const LongConvSize& s, const Batched<float>& values,
              const Batched<float>& filter, const Gradient<float>& out) {
  if (s.length <= kChunk)
    convolve<kReversed, 1>(call, s, values, filter, out);
  else if (s.length <= 2 * kChunk)
    convolve<kReversed, 2>(call, s, values, filter, out);
  else
    convolve<kReversed, kMostWindows>(call, s, values, filter, out);
}

}  // namespace

std::size_t long_conv_tensor_bytes(const LongConvSize& s) {
  return shared_bytes<false, 8>(s);
}

void long_conv_tensor_cuda(const CudaCall& call, const LongConvSize& s, const Batched<float>& u,
                           const Batched<float>& filter, const Batched<float>& y) {
  if (s.length <= kSpan)
    convolve<false>(call, s, u, filter, {y, true, false});
  else
    launch<false, true, kMostWindows, 8>(call, s, u, filter, {y, true, false});
}

void long_conv_tensor_du_cuda(const CudaCall& call, const LongConvSize& s,
                              const Batched<float>& filter, const Batched<float>& dy,
                              const Gradient<float>& du) {
  convolve<true>(call, s, dy, filter, du);
}

}  // namespace recallbench
