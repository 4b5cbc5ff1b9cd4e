#pragma once

#include <algorithm>

#include "kernels/tensor/arena.h"
#include "kernels/tensor/matrix_gradient.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {

/// One example and one head of a replica: rows of the example and columns of the head in a tensor
/// [B·rows, H·cols], whatever its rows and columns are. Nothing of what is without data.
struct HeadItem {
  Index example, head;
  Index examples, heads;

  Index index() const { return example * heads + head; }

  template <class T>
  Matrix<T> of(const Matrix<T>& all) const {
    if (all.data == nullptr) return {};
    const Index rows = all.rows / examples, cols = all.cols / heads;
    return all.block(example * rows, rows).columns(head * cols, cols);
  }
  template <class T>
  MatrixGradient<T> of(const MatrixGradient<T>& all) const {
    return {of(all.to), all.accumulate};
  }
  template <class T>
  Matrix<T> of(const Batched<T>& all, Index replica) const {
    return of(all.replica(replica));
  }
  template <class T>
  MatrixGradient<T> of(const Gradient<T>& all, Index replica) const {
    return of(gradient_of(all, replica));
  }
};

/// The items of an operation that takes each (example, head) of a replica by itself. They are dealt
/// to at most kLanes lanes, each with scratch of its own; to fewer where the scratch of all would
/// be more than kMostScratch numbers.
struct HeadItems {
  static constexpr Index kLanes = 32, kMostScratch = Index{1} << 24;

  Index examples, heads;
  Index numbers;  ///< of scratch, of one item at a time

  Index count() const { return examples * heads; }
  /// Numbers from one lane's scratch to the next's: each begins at a multiple of kAlignment bytes.
  Index lane_scratch() const {
    constexpr Index step = kAlignment / sizeof(float);
    return (numbers + step - 1) / step * step;
  }
  Index lanes() const {
    return std::min({kLanes, std::max<Index>(1, kMostScratch / lane_scratch()), count()});
  }
  Index scratch() const { return lanes() * lane_scratch(); }

  /// body(item, its scratch) for every item of a replica.
  template <class T, class Body>
  void run(T* scratch, const Body& body) const {
    const Index stride = lane_scratch(), step = lanes(), end = count();
    parallel_for(step, [&](Index lane) {
      for (Index index = lane; index < end; index += step)
        body(HeadItem{index / heads, index % heads, examples, heads}, scratch + lane * stride);
    });
  }
};

}  // namespace recallbench
