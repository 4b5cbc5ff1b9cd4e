#pragma once

#include <cstdint>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/long_conv/long_conv_cuda.h"

// Sequences in shared memory, transposed and a chunk of times at a time: how the long convolutions
// on tensor cores read and write [example, time, channel] in pieces of 32 or 64 bytes and find a
// channel's numbers by time. What limits them is the L2 cache's requests, twice as many in pieces
// of 32 bytes, and instructions.

namespace recallbench::long_conv_tiles {

inline constexpr int kChunk = 64;  // times

__host__ __device__ inline constexpr Index ceil_div(Index a, Index b) {
  return (a + b - 1) / b;
}
__host__ __device__ inline constexpr int chunks_of(Index length) {
  return static_cast<int>(ceil_div(length, kChunk));
}

/// The place of number i's successor in a ring.
__device__ inline int next_in_ring(int i, int slots) {
  return i + 1 < slots ? i + 1 : 0;
}

/// A chunk of the examples from `example` on.
struct ChunkPlace {
  Index example;
  int chunk;
};

/// What a block, a warp a channel, and each of its threads have of every chunk of a tensor. A
/// thread moves four neighbouring channels at one time of every second example. kReversed: time
/// runs back; kPaired: in a tile, times 8 apart are neighbours.
template <int kChannels, int kExamples, bool kReversed, bool kPaired>
class Share {
 public:
  // A tile has a chunk's numbers by channel, example and place in time. Examples lie 8 more than a
  // multiple of 32 apart, so that the pairs of numbers that half a warp's lanes have of a fragment
  // lie in different banks; channels as much more as lets those that a warp brings or takes at
  // once.
  static constexpr int kExample = kChunk + 8, kChannel = kExamples * kExample + 32 / kChannels;
  static constexpr int kTile = kChannels * kChannel;              // numbers of a tile
  static constexpr int kCopies = kChannels * kExamples * kChunk;  // and of a chunk's copies

  /// `quads`: four channels may be read as one. No example from `last` on is there.
  __device__ Share(const Batched<float>& m, const LongConvSize& s, Index channel, Index last,
                   bool quads)
      : stride_(m.stride), length_(s.length), last_(last), quads_(quads) {
    const int quad = 4 * (thread() % kQuads), row = thread() / kQuads, place = row % kChunk;
    example_ = row / kChunk;
    time_ = kPaired ? place / 16 * 16 + place % 16 / 2 + place % 2 * 8 : place;
    channels_ = static_cast<int>(min(Index{4}, max(Index{0}, s.channels - channel - quad)));
    first_ = m.data + blockIdx.y * m.replica_stride +
             (example_ * length_ + (kReversed ? length_ - 1 - time_ : time_)) * stride_ + channel +
             quad;
    in_tile_ = quad * kChannel + example_ * kExample + place;
  }

  /// Begins to copy the chunk to where this thread alone reads it: zeros where there is no number.
  __device__ void copy(const ChunkPlace& at, float* copies) const {
    const int there = examples(at);
    const float* from = place(at);
    float* to = copies + 4 * thread();
    if (quads_) {
#pragma unroll
      for (int i = 0; i < kCount; ++i, from += kEach * length_ * stride_)
        copy_async_or_zero<16>(to + 4 * i * kThreads, from, i * kEach < there);
      return;
    }
    for (int i = 0; i < kCount; ++i, from += kEach * length_ * stride_)
#pragma unroll
      for (int k = 0; k < 4; ++k)
        copy_async_or_zero<4>(to + 4 * i * kThreads + k, from + k,
                              i * kEach < there && k < channels_);
  }

  /// Copied numbers to their places in a tile, rounded.
  __device__ void bring(const float* copies, float* tile) const {
    float* to = tile + in_tile_;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      float numbers[4];
      load_numbers(copies + 4 * (i * kThreads + thread()), numbers);
#pragma unroll
      for (int k = 0; k < 4; ++k)
        to[k * kChannel + i * kEach * kExample] = __uint_as_float(tf32_bits(numbers[k]));
    }
  }

  /// Writes a tile's numbers to the chunk, or their sums with `copies`.
  __device__ void take(const ChunkPlace& at, const float* tile, const float* copies) const {
    const int there = examples(at);
    const float* from = tile + in_tile_;
    float* to = place(at);
#pragma unroll
    for (int i = 0; i < kCount; ++i, to += kEach * length_ * stride_) {
      if (i * kEach >= there) break;
      float numbers[4] = {};
      if (copies != nullptr) load_numbers(copies + 4 * (i * kThreads + thread()), numbers);
#pragma unroll
      for (int k = 0; k < 4; ++k)
        numbers[k] += from[k * kChannel + i * kEach * kExample];
      if (quads_)
        __stcg(reinterpret_cast<float4*>(to),
               make_float4(numbers[0], numbers[1], numbers[2], numbers[3]));
      else
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (k < channels_) to[k] = numbers[k];
    }
  }

 private:
  static constexpr int kThreads = 32 * kChannels, kQuads = kChannels / 4;
  static constexpr int kEach = kThreads / kQuads / kChunk, kCount = kExamples / kEach;

  __device__ static int thread() {
    return static_cast<int>(threadIdx.y * 32 + threadIdx.x);
  }
  /// Number i of the thread's examples is there if i * kEach is less.
  __device__ int examples(const ChunkPlace& at) const {
    const bool there = at.chunk * kChunk + time_ < length_ && channels_ > 0;
    return there ? static_cast<int>(last_ - at.example) - example_ : 0;
  }
  __device__ float* place(const ChunkPlace& at) const {
    const Index time = at.chunk * kChunk;
    return first_ + (at.example * length_ + (kReversed ? -time : time)) * stride_;
  }

  float* first_;
  Index stride_, length_, last_;
  int time_, example_, channels_, in_tile_;
  bool quads_;
};

inline dim3 grid_of(const LongConvSize& s, int channels, Index items) {
  return dim3(static_cast<unsigned>(ceil_div(s.channels, channels) * items),
              static_cast<unsigned>(s.replicas));
}

}  // namespace recallbench::long_conv_tiles
