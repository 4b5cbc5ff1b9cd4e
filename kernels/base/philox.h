#pragma once

#include <array>
#include <cstdint>

namespace recallbench {

/// What a stream of random numbers is for: part of the counter, so that no two uses share numbers.
enum class Purpose : std::uint32_t {
  initial_values = 1,
  dropout = 2,
  task_data = 3,
  data_order = 4,
  test_values = 5,
};

/// Philox 4x32, 10 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011): 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
struct Philox {
  std::uint64_t key;

  std::array<std::uint32_t, 4> operator()(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                                          std::uint32_t c3) const {
    std::array<std::uint32_t, 4> c{c0, c1, c2, c3};
    std::uint32_t k0 = static_cast<std::uint32_t>(key);
    std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
      c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
           static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return c;
  }
};

/// One sequential stream of Philox words: counter = (position / 4, a, b, purpose).
/// The same (key, a, b, purpose) always gives the same words.
class RandomStream {
 public:
  RandomStream(std::uint64_t key, Purpose purpose, std::uint32_t a, std::uint32_t b)
      : philox_{key}, a_(a), b_(b), purpose_(static_cast<std::uint32_t>(purpose)) {}

  std::uint32_t next() {
    if (used_ == 4) {
      words_ = philox_(block_++, a_, b_, purpose_);
      used_ = 0;
    }
    return words_[used_++];
  }

  /// Uniform in [0, n), without bias (Lemire's multiply-and-reject); n >= 1.
  std::uint32_t below(std::uint32_t n) {
    std::uint64_t product = std::uint64_t{next()} * n;
    if (static_cast<std::uint32_t>(product) < n) {
      const std::uint32_t threshold = (0u - n) % n;
      while (static_cast<std::uint32_t>(product) < threshold)
        product = std::uint64_t{next()} * n;
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

  std::uint64_t next64() {
    const std::uint64_t high = next();
    return high << 32 | next();
  }

  /// Uniform in (0, 1): (53 random bits + 1/2) / 2^53.
  double uniform() { return (static_cast<double>(next64() >> 11) + 0.5) * 0x1p-53; }

 private:
  Philox philox_;
  std::uint32_t a_, b_, purpose_;
  std::uint32_t block_ = 0;
  std::array<std::uint32_t, 4> words_{};
  unsigned used_ = 4;
};

}  // namespace recallbench
