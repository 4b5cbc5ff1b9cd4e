#pragma once

#include <cstdint>

#include "kernels/base/philox.h"

namespace recallbench {

/// Philox 4x32-10 on the GPU: the four words of kernels/base/philox.h.
__device__ inline uint4 philox_words(std::uint64_t key, uint4 c) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key);
  std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t high0 = __umulhi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
    const std::uint32_t high1 = __umulhi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
    c = make_uint4(high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// One dropout mask as kernels see it: kernels/dropout/dropout.h has the law.
struct DropoutOnDevice {
  const std::uint64_t* seeds = nullptr;  ///< [R]; null: nothing is dropped
  const std::uint32_t* step = nullptr;   ///< [1]
  std::uint32_t random_id = 0;
  std::uint32_t threshold = 0;  ///< a word below it keeps its element
  float kept = 1;               ///< 1 / (1 - p)
};

/// Scales (0 or `kept`) of elements 4 · quad .. 4 · quad + 3 of a replica's mask.
__device__ inline float4 dropout_scales(const DropoutOnDevice& mask, int replica,
                                        std::uint32_t quad) {
  const uint4 words = philox_words(
      mask.seeds[replica],
      make_uint4(quad, *mask.step, mask.random_id, static_cast<std::uint32_t>(Purpose::dropout)));
  return make_float4(
      words.x < mask.threshold ? mask.kept : 0.0f, words.y < mask.threshold ? mask.kept : 0.0f,
      words.z < mask.threshold ? mask.kept : 0.0f, words.w < mask.threshold ? mask.kept : 0.0f);
}

/// The scale of one element.
__device__ inline float dropout_scale(const DropoutOnDevice& mask, int replica,
                                      std::uint64_t element) {
  const float4 four = dropout_scales(mask, replica, static_cast<std::uint32_t>(element / 4));
  switch (element % 4) {
    case 0:
      return four.x;
    case 1:
      return four.y;
    case 2:
      return four.z;
    default:
      return four.w;
  }
}

}  // namespace recallbench
