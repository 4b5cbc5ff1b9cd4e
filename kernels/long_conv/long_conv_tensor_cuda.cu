// The direct form on tensor cores. Floor: the bytes of u and y, 8 a number, 128 us for the 67 M
// numbers of R = 4, B = 256, L = 256, D = 256 at 4.2 TB/s; L FLOPs a number, 17 GFLOP, take about
// 60 us of tensor cores beside them.
//
// Of one channel, y [t, example] = T u [s, example] with T [t, s] = k[t - s]. A block has all of
// the time of a few channels and examples in shared memory, transposed there so that a warp finds
// its channel's numbers by time; y takes the place of u, and both move in whole sectors of 32
// bytes. A fragment of T depends on t - s alone: steps along s shift those in registers, and two
// loads bring the next. 32 products of 16 x 8 x 8 take 32 loads from shared memory.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/long_conv/tiles.cuh"

namespace recallbench {
namespace {

using namespace long_conv_tiles;

// Zeros before a filter's first tap: what tiles on the diagonal read ahead of it.
constexpr int kAhead = 16;
constexpr int kExamples = 8;  // of a block: the columns of a product

/// 8 x 8 of T: k[8 m + g - t] and k[8 m + g - t - 4] for its m, where lane = 4 g + t.
struct TapsFragment {
  float near, far;
};

/// Of the fragments m = -7 to 7 beyond a chunk's distance; the next chunk is 64 nearer.
struct TapsWindow {
  TapsFragment at[15];

  __device__ void load(const float* taps, int i) {
    at[i] = {taps[8 * (i - 7)], taps[8 * (i - 7) - 4]};
  }
  __device__ void shift() {
#pragma unroll
    for (int i = 0; i < 7; ++i)
      at[8 + i] = at[i];
  }
};

/// sums [64 t, 8 examples] += T u for 64 times s. `taps` is the lane's tap of distance t0 - s0, `u`
/// its number at s0; the window has the fragments from m = 1 on. On the diagonal, those with
/// t < s alone are left out.
template <bool kDiagonal>
__device__ void add_chunk(float (&sums)[4][4], TapsWindow& window, const float* taps,
                          const float* u) {
#pragma unroll
  for (int i = kDiagonal ? 6 : 0; i < 8; ++i)
    window.load(taps, i);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const std::uint32_t b[2] = {__float_as_uint(u[8 * j]), __float_as_uint(u[8 * j + 4])};
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      if (kDiagonal && j > 2 * n + 1) continue;
      const TapsFragment &upper = window.at[2 * n - j + 7], &lower = window.at[2 * n - j + 8];
      mma_tf32(sums[n],
               {__float_as_uint(upper.near), __float_as_uint(lower.near),
                __float_as_uint(upper.far), __float_as_uint(lower.far)},
               b);
    }
  }
}

/// One channel of 8 examples in place: `u` is its tile, `taps` its distance 0. Windows of 64 times
/// go from the last to the first, since a window's sums take the place of what only it and later
/// ones read.
__device__ void convolve_channel(float* u, int example_stride, const float* taps, int length,
                                 int reach) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const float* of_lane = u + g * example_stride + t;
  taps += g - t;
  for (int to = length - kChunk; to >= 0; to -= kChunk) {
    float sums[4][4] = {};
    TapsWindow window;
    int from = max(0, to - reach);
#pragma unroll
    for (int i = 8; i < 15; ++i)
      window.load(taps + to - from, i);
    for (; from < to; from += kChunk) {
      add_chunk<false>(sums, window, taps + to - from, of_lane + from);
      window.shift();
    }
    add_chunk<true>(sums, window, taps, of_lane + to);
    __syncwarp();
    float* place = u + 2 * t * example_stride + to + g;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      place[16 * n] = sums[n][0];
      place[16 * n + example_stride] = sums[n][1];
      place[16 * n + 8] = sums[n][2];
      place[16 * n + 8 + example_stride] = sums[n][3];
    }
  }
}

/// out[t] = Σ_s filter[t - s] values[s], or with kReversed out[s] = Σ_t filter[t - s] values[t]:
/// the same with time running back. A warp a channel.
template <bool kReversed, int kChannels>
__global__ void __launch_bounds__(32 * kChannels, 24 / kChannels)
    convolve_tiles(LongConvSize s, Batched<float> values, Batched<float> filter,
                   Gradient<float> out, bool quads) {
  after_previous();
  extern __shared__ __align__(16) float shared[];
  const int length = padded(s.length), warp = static_cast<int>(threadIdx.y);
  const int groups = ceil_div(s.channels, kChannels);
  const Index channel = Index{blockIdx.x % groups} * kChannels;
  const Index example = Index{blockIdx.x / groups} * kExamples;
  const Tile<kExamples, 4> tile(shared, length);
  float* filters = shared + Tile<kExamples, 4>::numbers(kChannels, length);
  const int filter_stride = kAhead + length;

  const int quad = 4 * Pass<kChannels>().quad;
  for (int e = warp; e < kExamples; e += kChannels)
    bring<kChannels, 8>(Quad<kReversed>(values, s, example + e, channel + quad, quads), length,
                        tile.data + e * tile.example, tile.channel);
  // Neighbouring threads take neighbouring channels.
  const int thread = warp * 32 + static_cast<int>(threadIdx.x), c = thread % kChannels;
  const float* taps = filter.data + blockIdx.y * filter.replica_stride + channel + c;
#pragma unroll 4
  for (int d = thread / kChannels - kAhead; d < length; d += 32)
    filters[c * filter_stride + kAhead + d] =
        d >= 0 && d < s.taps && channel + c < s.channels ? rounded(taps[d * filter.stride]) : 0.0f;
  __syncthreads();

  if (channel + warp < s.channels)
    convolve_channel(tile.data + warp * tile.channel, tile.example,
                     filters + warp * filter_stride + kAhead, length,
                     static_cast<int>((s.taps + kChunk - 2) / kChunk * kChunk));
  __syncthreads();

  for (int e = warp; e < kExamples; e += kChannels)
    take<kChannels, 8>(tile.data + e * tile.example, tile.channel,
                       Quad<kReversed>(out.view, s, example + e, channel + quad, quads),
                       out.accumulate);
}

template <bool kReversed, int kChannels>
void convolve(const CudaCall& call, const LongConvSize& s, const Batched<float>& values,
              const Batched<float>& filter, const Gradient<float>& out) {
  const int length = padded(s.length);
  const std::size_t bytes =
      (Tile<kExamples, 4>::numbers(kChannels, length) + kChannels * (kAhead + length)) *
      sizeof(float);
  const auto kernel = convolve_tiles<kReversed, kChannels>;
  cuda_allow_shared(kernel, bytes, "convolve_tiles");
  cuda_launch("convolve_tiles", kernel,
              {grid_of(s, kChannels, ceil_div(s.examples, kExamples)), dim3(32, kChannels), bytes,
               call.stream},
              s, values, filter, out, in_quads(values) && in_quads(out.view));
}

template <bool kReversed>
void convolve(const CudaCall& call, const LongConvSize& s, const Batched<float>& values,
              const Batched<float>& filter, const Gradient<float>& out) {
  if (s.length <= kDirectLongConvCuda)
    convolve<kReversed, 8>(call, s, values, filter, out);
  else
    convolve<kReversed, 4>(call, s, values, filter, out);
}

}  // namespace

void long_conv_tensor_cuda(const CudaCall& call, const LongConvSize& s, const Batched<float>& u,
                           const Batched<float>& filter, const Batched<float>& y) {
  convolve<false>(call, s, u, filter, {y, true, false});
}

void long_conv_tensor_du_cuda(const CudaCall& call, const LongConvSize& s,
                              const Batched<float>& filter, const Batched<float>& dy,
                              const Gradient<float>& du) {
  convolve<true>(call, s, dy, filter, du);
}

}  // namespace recallbench
