#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/base/error.h"

namespace recallbench {

/// Successive sampling without replacement (the Plackett-Luce law): item i is drawn with
/// probability weight[i] / (sum of what is left), taken out, and so on. Exact for the given integer
/// weights. A draw is one walk down a binary tree of partial sums and one back up, so its cost does
/// not depend on how many items are left: all of them can be drawn.
class SuccessiveSampler {
 public:
  /// Positive weights whose sum is below 2^63; each draw() gives k <= weights.size() items.
  SuccessiveSampler(std::vector<std::uint64_t> weights, std::uint32_t k)
      : weights_(std::move(weights)), drawn_(k) {
    check(k <= weights_.size(), "successive sampler", "need k <= items, k {} items {}", k,
          weights_.size());
    const std::size_t leaves = std::bit_ceil(weights_.size());
    std::vector<std::uint64_t> sums(2 * leaves, 0);
    for (std::size_t i = 0; i < weights_.size(); ++i)
      sums[leaves + i] = weights_[i];
    full_.resize(leaves);
    for (std::size_t node = leaves; node-- > 1;) {
      full_[node] = sums[2 * node];
      sums[node] = sums[2 * node] + sums[2 * node + 1];
    }
    total_ = sums[1];
    tree_ = full_;
  }

  /// The drawn items in the order of drawing; `words` gives below64(n). Valid until the next call.
  template <class Words>
  std::span<const std::uint32_t> draw(Words& words) {
    tree_ = full_;
    std::uint64_t left = total_;
    for (std::uint32_t& item : drawn_) {
      const std::size_t leaf = find(words.below64(left));
      item = static_cast<std::uint32_t>(leaf - tree_.size());
      remove(leaf, weights_[item]);
      left -= weights_[item];
    }
    return drawn_;
  }

 private:
  /// The leaf whose interval of the cumulative sum holds `target`.
  std::size_t find(std::uint64_t target) const {
    std::size_t node = 1;
    while (node < tree_.size()) {
      const std::uint64_t lower = tree_[node];
      const bool beyond = lower <= target;
      target -= beyond ? lower : 0;
      node = 2 * node + (beyond ? 1 : 0);
    }
    return node;
  }

  void remove(std::size_t leaf, std::uint64_t weight) {
    for (std::size_t node = leaf; node > 1; node /= 2)
      tree_[node / 2] -= (node & 1) != 0 ? 0 : weight;
  }

  std::vector<std::uint64_t> weights_;
  std::uint64_t total_ = 0;
  /// Entry `node` of a heap (root 1, children 2 node and 2 node + 1, leaves from size() on): the
  /// sum of the weights below its lower child.
  std::vector<std::uint64_t> full_;
  std::vector<std::uint64_t> tree_;  ///< the same without what was drawn
  std::vector<std::uint32_t> drawn_;
};

}  // namespace recallbench
