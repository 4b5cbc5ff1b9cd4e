#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/base/error.h"

namespace recallbench {

using Index = std::int64_t;

/// Sizes, outermost first. Dimension 0 is always the replica; the last is the columns of a row.
class Shape {
 public:
  static constexpr int kMaxRank = 5;

  Shape() = default;
  Shape(std::initializer_list<Index> sizes);

  int rank() const { return rank_; }
  Index operator[](int i) const { return sizes_[static_cast<std::size_t>(i < 0 ? rank_ + i : i)]; }

  Index replicas() const { return sizes_[0]; }
  Index cols() const { return (*this)[-1]; }
  /// Product of all dimensions but the first and the last.
  Index rows() const;
  /// Numbers in one replica's slice.
  Index per_replica() const { return rows() * cols(); }

  /// The same with another last dimension.
  Shape with_cols(Index cols) const;
  bool operator==(const Shape&) const = default;
  /// "[1, 64, 256, 16]"
  std::string text() const;

 private:
  std::array<Index, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace recallbench
