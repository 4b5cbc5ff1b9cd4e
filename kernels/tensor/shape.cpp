#include "kernels/tensor/shape.h"

#include <fmt/ranges.h>

#include <span>

namespace recallbench {

Shape::Shape(std::initializer_list<Index> sizes) {
  check(sizes.size() >= 2 && sizes.size() <= kMaxRank, "Shape",
        "expected 2 to {} dimensions (replica first), got {}", static_cast<int>(kMaxRank),
        sizes.size());
  for (const Index size : sizes) {
    check(size >= 0, "Shape", "expected sizes of at least 0, got {}", size);
    sizes_[static_cast<std::size_t>(rank_++)] = size;
  }
}

Index Shape::rows() const {
  Index product = 1;
  for (int i = 1; i + 1 < rank_; ++i)
    product *= sizes_[static_cast<std::size_t>(i)];
  return product;
}

Shape Shape::with_cols(Index cols) const {
  Shape changed = *this;
  changed.sizes_[static_cast<std::size_t>(rank_ - 1)] = cols;
  return changed;
}

std::string Shape::text() const {
  return fmt::format("[{}]",
                     fmt::join(std::span(sizes_.data(), static_cast<std::size_t>(rank_)), ", "));
}

}  // namespace recallbench
