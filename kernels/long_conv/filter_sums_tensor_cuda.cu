// The filter's gradient on tensor cores. Floor: the bytes of u and dy, 8 a number, and L FLOPs a
// number, as the convolution (long_conv_tensor_cuda.cu).
//
// dk[d] = Σ dy[t] u[t - d] in tiles [16 t, 8 s] whose t0 - s0 are the multiples of 16: the sums of
// a tile stay in registers over all examples of a slice and all times of its distance, and its
// diagonals are added last. A block has all of the time of a few channels and examples in shared
// memory, and reads each number of them once or twice for 16 products of 16 x 8 x 8.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/long_conv/tiles.cuh"

namespace recallbench {
namespace {

using namespace long_conv_tiles;

constexpr int kExamples = 4;  // of a step
constexpr int kChannels = 8;  // a warp each

/// Two neighbouring blocks of 8 times of u.
struct TimePair {
  float first, second;
};

/// sums[n] += of distances from 16 n beyond `distance` on, over 64 times: x the blocks of 8 of dy
/// there, pairs[i] the pair of u 16 (i - 3) beyond `distance` before. On the diagonal the pairs
/// before time 0 are left out.
template <bool kDiagonal>
__device__ void add_distances(float (&sums)[4][4], const std::uint32_t (&x)[9],
                              const TimePair (&pairs)[7]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      if (kDiagonal && n > i) continue;
      const TimePair& u = pairs[i - n + 3];
      mma_tf32(sums[n], {x[2 * i], x[2 * i + 1], x[2 * i + 1], x[2 * i + 2]},
               {__float_as_uint(u.first), __float_as_uint(u.second)});
    }
}

/// One channel of 4 examples. The inner index of a product is an example, now at the times t0 and
/// now 8 later: both lie at one distance from their u.
template <int kWindows>
__device__ void add_channel(float (&sums)[kWindows][4][4], const float* u, const float* dy,
                            int length, int taps) {
  for (int chunk = 0; chunk < length / kChunk; ++chunk) {
    std::uint32_t x[9];
#pragma unroll
    for (int i = 0; i < 9; ++i)
      x[i] = __float_as_uint(dy[chunk * kChunk + 8 * i]);
    TimePair pairs[7];
#pragma unroll
    for (int window = 0; window < kWindows; ++window) {
      if (window > chunk || window * kChunk >= taps + 7) continue;
      const float* from = u + (chunk - window) * kChunk;
      const auto load = [&](int i) { pairs[i] = {from[16 * (i - 3)], from[16 * (i - 3) + 8]}; };
      if (window == 0) {
#pragma unroll
        for (int i = 4; i < 7; ++i)
          load(i);
      } else {
#pragma unroll
        for (int i = 0; i < 3; ++i)
          pairs[4 + i] = pairs[i];
      }
      load(3);
      if (window == chunk) {
        add_distances<true>(sums[window], x, pairs);
      } else {
#pragma unroll
        for (int i = 0; i < 3; ++i)
          load(i);
        add_distances<false>(sums[window], x, pairs);
      }
    }
  }
}

/// Where number j of row i of a channel's sums lies: dk[d] = Σ_j of (d + j, j). Writing 8 rows and
/// reading 4 rows of 8 channels meet no bank twice.
__device__ int place_of_sum(int channel, int length, int i, int j) {
  return (channel * length + i) * 8 + ((j + i / 4 + channel) & 7);
}

/// parts [R, slices, taps, D]: Σ dy[t] u[t - d] over the examples of a slice. A warp a channel.
template <int kWindows>
__global__ void __launch_bounds__(32 * kChannels, kWindows == 1 ? 3 : 2)
    filter_sums_tiles(LongConvSize s, Index slice_examples, Batched<float> u, Batched<float> dy,
                      float* parts, bool quads) {
  after_previous();
  extern __shared__ __align__(16) float shared[];
  const int length = padded(s.length), warp = static_cast<int>(threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const int groups = ceil_div(s.channels, kChannels);
  const Index channel = Index{blockIdx.x % groups} * kChannels, slice = blockIdx.x / groups;
  using Examples = Tile<kExamples, 8>;
  const Examples us(shared, length), dys(shared + Examples::numbers(kChannels, length), length);
  const bool brings_u = warp < kExamples;  // or dy, of one example
  const int example_of_warp = warp % kExamples, quad = 4 * Pass<kChannels>().quad;

  float sums[kWindows][4][4] = {};
  // Times beyond the end that a last tile reads.
  for (int c = t; c < kChannels && brings_u; c += 4)
    dys.data[c * dys.channel + example_of_warp * dys.example + length + g] = 0;
  const Index last = min(s.examples, (slice + 1) * slice_examples);
  for (Index first = slice * slice_examples; first < last; first += kExamples) {
    const Index example = first + example_of_warp < last ? first + example_of_warp : s.examples;
    bring<kChannels, kWindows == 1 ? 4 : 8>(
        Quad<false>(brings_u ? u : dy, s, example, channel + quad, quads), length,
        (brings_u ? us.data : dys.data) + example_of_warp * us.example, us.channel);
    __syncthreads();
    add_channel(sums, us.data + warp * us.channel + t * us.example + g,
                dys.data + warp * dys.channel + t * dys.example + g, length,
                static_cast<int>(s.taps));
    __syncthreads();
  }

#pragma unroll
  for (int m = 0; m < 4 * kWindows; ++m)
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int i = 16 * m + g + 8 * (k / 2);
      if (16 * m < length)
        shared[place_of_sum(warp, length, i, 2 * t + k % 2)] = sums[m / 4][m % 4][k];
    }
  __syncthreads();
  const int c = lane % kChannels;
  float* part = parts +
                (blockIdx.y * ceil_div(s.examples, slice_examples) + slice) * s.taps * s.channels +
                channel + c;
  if (channel + c >= s.channels) return;
  for (int d = warp * 4 + lane / kChannels; d < s.taps; d += 32) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j)
      if (d + j < length) sum += shared[place_of_sum(c, length, d + j, j)];
    part[d * s.channels] = sum;
  }
}

template <int kWindows>
void filter_sums(const CudaCall& call, const LongConvSize& s, Index slice_examples,
                 const Batched<float>& u, const Batched<float>& dy, float* parts) {
  const std::size_t bytes =
      2 * Tile<kExamples, 8>::numbers(kChannels, padded(s.length)) * sizeof(float);
  const auto kernel = filter_sums_tiles<kWindows>;
  cuda_allow_shared(kernel, bytes, "filter_sums_tiles");
  cuda_launch("filter_sums_tiles", kernel,
              {grid_of(s, kChannels, ceil_div(s.examples, slice_examples)), dim3(32, kChannels),
               bytes, call.stream},
              s, slice_examples, u, dy, parts, in_quads(u) && in_quads(dy));
}

}  // namespace

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
