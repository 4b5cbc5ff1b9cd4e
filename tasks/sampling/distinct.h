#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "kernels/base/error.h"

namespace recallbench {

/// Draws k different numbers of [0, pool), every ordered choice equally likely: by redrawing what
/// was drawn before where k <= pool / 2, else by the first k steps of a Fisher-Yates shuffle.
class DistinctSampler {
 public:
  DistinctSampler(std::uint32_t pool, std::uint32_t k)
      : pool_(pool), drawn_(k), seen_((std::size_t{pool} + 63) / 64, 0) {
    check(k <= pool, "distinct sampler", "need k <= pool, k {} pool {}", k, pool);
    if (k > pool / 2) order_.resize(pool);
  }

  /// The next choice; `words` gives below(n). Valid until the next call.
  template <class Words>
  std::span<const std::uint32_t> draw(Words& words) {
    for (std::size_t i = 0; i < marked_; ++i)
      seen_[drawn_[i] / 64] = 0;
    marked_ = 0;
    if (order_.empty())
      draw_by_rejection(words);
    else
      draw_by_shuffle(words);
    return drawn_;
  }

  /// Whether the last choice has `x` in it.
  bool contains(std::uint32_t x) const { return (seen_[x / 64] >> (x % 64) & 1) != 0; }

 private:
  template <class Words>
  void draw_by_rejection(Words& words) {
    while (marked_ < drawn_.size()) {
      const std::uint32_t x = words.below(pool_);
      if (!contains(x)) mark(x);
    }
  }

  template <class Words>
  void draw_by_shuffle(Words& words) {
    std::iota(order_.begin(), order_.end(), 0u);
    while (marked_ < drawn_.size()) {
      const std::uint32_t i = static_cast<std::uint32_t>(marked_);
      std::swap(order_[i], order_[i + words.below(pool_ - i)]);
      mark(order_[i]);
    }
  }

  void mark(std::uint32_t x) {
    seen_[x / 64] |= std::uint64_t{1} << (x % 64);
    drawn_[marked_++] = x;
  }

  std::uint32_t pool_;
  std::vector<std::uint32_t> drawn_;
  std::size_t marked_ = 0;  ///< how many of drawn_ are set in seen_
  std::vector<std::uint64_t> seen_;
  std::vector<std::uint32_t> order_;  ///< empty when drawing by rejection
};

}  // namespace recallbench
