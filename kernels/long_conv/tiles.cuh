#pragma once

#include <cstdint>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/long_conv/long_conv_cuda.h"

// Sequences in shared memory, transposed: how the long convolutions on tensor cores read and write
// [example, time, channel] in whole sectors and find a channel's numbers by time.

namespace recallbench::long_conv_tiles {

inline constexpr int kChunk = 64;  // times that a warp takes from registers at once

__host__ __device__ inline constexpr int ceil_div(Index a, Index b) {
  return static_cast<int>((a + b - 1) / b);
}
__host__ __device__ inline constexpr int padded(Index length) {
  return ceil_div(length, kChunk) * kChunk;
}

/// Numbers by channel, example and time. Examples lie 4 or 8 more than a multiple of 32 apart, so
/// that a fragment's 8 x 4 or 4 x 8 numbers lie in different banks; channels 4 more, so that those
/// of a quad's neighbour do when they are transposed.
template <int kCount, int kPad>
struct Tile {
  float* data;
  int example, channel;  // strides

  __device__ Tile(float* at, int length)
      : data(at), example(length + kPad), channel(kCount * example + 4) {}
  __host__ __device__ static constexpr int numbers(int channels, int length) {
    return channels * (kCount * (length + kPad) + 4);
  }
};

/// Four neighbouring channels of one example, by time or, with kReversed, from its end.
template <bool kReversed>
struct Quad {
  float* data;
  Index stride;
  int length, count;  // channels that there are: 0 to 4
  bool whole;         // may be read as one

  /// An example that is not there is one of no length.
  __device__ Quad(const Batched<float>& m, const LongConvSize& s, Index example, Index channel,
                  bool quads)
      : data(m.data + blockIdx.y * m.replica_stride + example * s.length * m.stride + channel),
        stride(m.stride),
        length(example < s.examples ? static_cast<int>(s.length) : 0),
        count(static_cast<int>(min(Index{4}, max(Index{0}, s.channels - channel)))),
        whole(quads && count == 4) {}

  __device__ float* row(int t) const { return data + (kReversed ? length - 1 - t : t) * stride; }
};

/// What a lane does of a warp's pass over an example: kRows times by kChannels channels.
template <int kChannels>
struct Pass {
  static constexpr int kQuads = kChannels / 4, kRows = 32 / kQuads;
  int quad, first;

  __device__ Pass()
      : quad(static_cast<int>(threadIdx.x) % kQuads),
        first(static_cast<int>(threadIdx.x) / kQuads) {}
};

__device__ inline float rounded(float x) {
  return __uint_as_float(tf32_bits(x));
}

/// A warp brings one example to `to`, rounded, zeros from its end to `length`. kLoads loads of a
/// lane are under way at a time where quads can be read.
template <int kChannels, int kLoads, bool kReversed>
__device__ void bring(const Quad<kReversed>& from, int length, float* to, int channel_stride) {
  constexpr int kRows = Pass<kChannels>::kRows;
  const Pass<kChannels> pass;
  to += 4 * pass.quad * channel_stride;
  if (!from.whole) {
    for (int t = pass.first; t < length; t += kRows)
#pragma unroll
      for (int k = 0; k < 4; ++k)
        to[k * channel_stride + t] =
            t < from.length && k < from.count ? rounded(from.row(t)[k]) : 0.0f;
    return;
  }
  for (int t0 = pass.first; t0 < length; t0 += kLoads * kRows) {
    float numbers[kLoads][4] = {};
#pragma unroll
    for (int i = 0; i < kLoads; ++i)
      if (t0 + i * kRows < from.length) load_numbers(from.row(t0 + i * kRows), numbers[i]);
#pragma unroll
    for (int i = 0; i < kLoads; ++i)
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (t0 + i * kRows < length)
          to[k * channel_stride + t0 + i * kRows] = rounded(numbers[i][k]);
  }
}

/// A warp writes one example, or adds it to what is there: of that, kLoads loads of a lane are
/// under way at a time where quads can be read.
template <int kChannels, int kLoads, bool kReversed>
__device__ void take(const float* from, int channel_stride, const Quad<kReversed>& to,
                     bool accumulate) {
  constexpr int kRows = Pass<kChannels>::kRows;
  const Pass<kChannels> pass;
  from += 4 * pass.quad * channel_stride;
  if (!to.whole) {
    for (int t = pass.first; t < to.length; t += kRows)
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (k >= to.count) continue;
        float* place = to.row(t) + k;
        *place = from[k * channel_stride + t] + (accumulate ? *place : 0.0f);
      }
    return;
  }
  for (int t0 = pass.first; t0 < to.length; t0 += kLoads * kRows) {
    float numbers[kLoads][4] = {};
    if (accumulate)
#pragma unroll
      for (int i = 0; i < kLoads; ++i)
        if (t0 + i * kRows < to.length) load_numbers(to.row(t0 + i * kRows), numbers[i]);
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int t = t0 + i * kRows;
      if (t >= to.length) continue;
#pragma unroll
      for (int k = 0; k < 4; ++k)
        numbers[i][k] += from[k * channel_stride + t];
      // Said so that it stays one access.
      __stcg(reinterpret_cast<float4*>(to.row(t)),
             make_float4(numbers[i][0], numbers[i][1], numbers[i][2], numbers[i][3]));
    }
  }
}

inline dim3 grid_of(const LongConvSize& s, int channels, Index items) {
  return dim3(static_cast<unsigned>(ceil_div(s.channels, channels) * items),
              static_cast<unsigned>(s.replicas));
}

}  // namespace recallbench::long_conv_tiles
