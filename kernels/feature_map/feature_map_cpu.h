#pragma once

#include <cstdint>

#include "kernels/feature_map/feature_map.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CPU twins of feature_map.h; rows of an operation's tensors correspond.
template <class T>
void elementwise_features_cpu(ElementwiseMap map, T temperature, const Batched<T>& x,
                              const Batched<T>& y);
template <class T>
void elementwise_features_backward_cpu(ElementwiseMap map, T temperature, const Batched<T>& x,
                                       const Batched<T>& dy, const Gradient<T>& dx);

/// Where rows stand: row b·rows + i at positions[r, b, i], or at i without positions.
struct RowPositions {
  const std::int32_t* positions;
  Index examples, rows;

  Index of(Index replica, Index row) const {
    return positions == nullptr ? row % rows : positions[replica * examples * rows + row];
  }
};
template <class T>
void cosformer_features_cpu(const CosformerOptions& options, const RowPositions& positions,
                            const Batched<T>& x, const Batched<T>& y);
template <class T>
void cosformer_features_backward_cpu(const CosformerOptions& options, const RowPositions& positions,
                                     const Batched<T>& x, const Batched<T>& dy,
                                     const Gradient<T>& dx);

template <class T>
void exponential_features_cpu(bool less_maximum, const Batched<T>& x, const Batched<T>& p,
                              const Batched<T>& y);
template <class T>
void exponential_features_backward_cpu(bool less_maximum, const Batched<T>& x, const Batched<T>& p,
                                       const Batched<T>& y, const Batched<T>& dy,
                                       const Gradient<T>& dx, const Gradient<T>& dp);

template <class T>
void polynomial_features_cpu(const Batched<T>& a, const Batched<T>& b, const Batched<T>& y);
template <class T>
void polynomial_features_backward_cpu(const Batched<T>& a, const Batched<T>& dy,
                                      const Gradient<T>& da, const Gradient<T>& db);

template <class T>
void softmax_features_cpu(T scale, bool jointly, const Batched<T>& x, const Batched<T>& y);
template <class T>
void softmax_features_backward_cpu(T scale, bool jointly, const Batched<T>& y, const Batched<T>& dy,
                                   const Gradient<T>& dx);

}  // namespace recallbench
