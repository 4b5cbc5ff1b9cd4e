#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/base/philox.h"

namespace recallbench {

/// The words of RandomStream(key, purpose, a, b), in the same order, eight Philox blocks at a time:
/// independent blocks keep the multipliers busy, and fill_below works on whole chunks.
class WordStream {
 public:
  WordStream(std::uint64_t key, Purpose purpose, std::uint32_t a, std::uint32_t b)
      : philox_{key}, a_(a), b_(b), purpose_(static_cast<std::uint32_t>(purpose)) {}

  std::uint32_t next() {
    if (used_ == kWords) refill();
    return words_[used_++];
  }

  std::uint64_t next64() {
    const std::uint64_t high = next();
    return high << 32 | next();
  }

  /// Uniform in [0, n), without bias (Lemire, "Fast random integer generation in an interval",
  /// 2019); n >= 1.
  std::uint32_t below(std::uint32_t n) {
    std::uint64_t product = std::uint64_t{next()} * n;
    if (static_cast<std::uint32_t>(product) < n) [[unlikely]] {
      const std::uint32_t threshold = (0u - n) % n;
      while (static_cast<std::uint32_t>(product) < threshold)
        product = std::uint64_t{next()} * n;
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

  /// The same for 64 bits; n >= 1.
  std::uint64_t below64(std::uint64_t n) {
    __extension__ using Wide = unsigned __int128;
    Wide product = Wide{next64()} * n;
    if (static_cast<std::uint64_t>(product) < n) [[unlikely]] {
      const std::uint64_t threshold = (std::uint64_t{0} - n) % n;
      while (static_cast<std::uint64_t>(product) < threshold)
        product = Wide{next64()} * n;
    }
    return static_cast<std::uint64_t>(product >> 64);
  }

  /// Writes `count` values of below(n), faster than that many calls.
  void fill_below(std::uint32_t n, std::int32_t* out, std::int64_t count) {
    const std::uint32_t threshold = (0u - n) % n;
    while (count > 0) {
      if (used_ == kWords) refill();
      const std::int64_t left = kWords - used_;
      const std::int64_t chunk = count < left ? count : left;
      std::uint32_t rejected = 0;
      for (std::int64_t i = 0; i < chunk; ++i) {
        const std::uint64_t product = std::uint64_t{words_[used_ + i]} * n;
        rejected |= static_cast<std::uint32_t>(product) < threshold ? 1u : 0u;
        out[i] = static_cast<std::int32_t>(product >> 32);
      }
      if (rejected != 0) [[unlikely]] {
        for (std::int64_t i = 0; i < chunk; ++i)
          out[i] = static_cast<std::int32_t>(below(n));
      } else {
        used_ += static_cast<std::uint32_t>(chunk);
      }
      out += chunk;
      count -= chunk;
    }
  }

 private:
  static constexpr std::uint32_t kBlocks = 8;
  static constexpr std::uint32_t kWords = 4 * kBlocks;

  void refill() {
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
      const auto block = philox_(block_ + i, a_, b_, purpose_);
      std::copy(block.begin(), block.end(), words_.begin() + 4 * i);
    }
    block_ += kBlocks;
    used_ = 0;
  }

  Philox philox_;
  std::uint32_t a_, b_, purpose_;
  std::uint32_t block_ = 0;
  std::uint32_t used_ = kWords;
  std::array<std::uint32_t, kWords> words_;
};

}  // namespace recallbench
