#include "kernels/dropout/dropout_mask.h"

#include <algorithm>

#include "kernels/base/philox.h"

namespace recallbench {
namespace {

constexpr Index kLanes = 16;          // counters at a time: fills the vector registers
constexpr Index kChunk = 4 * kLanes;  // elements that they decide

/// words[w][lane] = word w of Philox at counter (first + lane, step, random_id, dropout).
void philox_lanes(const DropoutMask& mask, std::uint32_t first, std::uint32_t (&words)[4][kLanes]) {
  for (Index lane = 0; lane < kLanes; ++lane) {
    words[0][lane] = first + static_cast<std::uint32_t>(lane);
    words[1][lane] = mask.step;
    words[2][lane] = mask.random_id;
    words[3][lane] = static_cast<std::uint32_t>(Purpose::dropout);
  }
  std::uint32_t k0 = static_cast<std::uint32_t>(mask.seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(mask.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (Index lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * words[0][lane];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * words[2][lane];
      words[0][lane] = static_cast<std::uint32_t>(p1 >> 32) ^ words[1][lane] ^ k0;
      words[1][lane] = static_cast<std::uint32_t>(p1);
      words[2][lane] = static_cast<std::uint32_t>(p0 >> 32) ^ words[3][lane] ^ k1;
      words[3][lane] = static_cast<std::uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

}  // namespace

template <class T>
void dropout_scales(const DropoutMask& mask, Index first, Index count, T* scale) {
  const T kept = static_cast<T>(1 / (1 - mask.p));
  const std::uint32_t threshold = dropout_threshold(mask.p);
  std::uint32_t words[4][kLanes];
  T chunk[kChunk];
  // A counter decides four elements, so the first chunk may begin up to three of them early.
  for (Index begin = first / 4 * 4; begin < first + count; begin += kChunk) {
    philox_lanes(mask, static_cast<std::uint32_t>(begin / 4), words);
    for (Index lane = 0; lane < kLanes; ++lane)
      for (Index w = 0; w < 4; ++w)
        chunk[4 * lane + w] = words[w][lane] < threshold ? kept : T(0);
    const Index from = std::max(begin, first), to = std::min(begin + kChunk, first + count);
    std::copy(chunk + (from - begin), chunk + (to - begin), scale + (from - first));
  }
}

template void dropout_scales(const DropoutMask&, Index, Index, float*);
template void dropout_scales(const DropoutMask&, Index, Index, double*);

}  // namespace recallbench
