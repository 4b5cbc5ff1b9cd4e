#include "kernels/linear_attention/linear_attention_cpu.h"

#include <algorithm>

#include "kernels/linear_attention/rows_cpu.h"
#include "kernels/matmul/gemm.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// A tile of weights is kTileQueries x kTileKeys: it stays in the second-level cache, and its
// products are large enough for the kernel.
constexpr Index kTileQueries = 32;
constexpr Index kTileKeys = 128;
constexpr Index kTile = kTileQueries * kTileKeys;

/// One (example, head) of one replica.
template <class T>
struct Item {
  Matrix<T> q, k, v, y;
  T* denominators;  ///< of query 0; kept at `denominator_stride`
  Index denominator_stride;
  const std::int32_t* positions;

  Index position(Index query) const { return positions == nullptr ? query : positions[query]; }
  T& denominator(Index query) const { return denominators[query * denominator_stride]; }
};

template <class T>
Matrix<T> head_rows(const Batched<T>& x, Index replica, Index example, Index rows, Index head,
                    Index cols) {
  return x.replica(replica).block(example * rows, rows).columns(head * cols, cols);
}

template <class T>
Item<T> item(const LinearAttentionPlan& p, const LinearAttentionTensors<T>& t, Index replica,
             Index index) {
  const Index b = index / p.options.heads, h = index % p.options.heads;
  const Matrix<T> denominators = head_rows(t.denominators, replica, b, p.queries, h, 1);
  return {head_rows(t.q, replica, b, p.queries, h, p.features),
          head_rows(t.k, replica, b, p.length, h, p.features),
          head_rows(t.v, replica, b, p.length, h, p.values),
          head_rows(t.y, replica, b, p.queries, h, p.values),
          denominators.data,
          denominators.stride,
          t.positions == nullptr ? nullptr : t.positions + (replica * p.examples + b) * p.queries};
}

/// Calls body(first query, count, keys) for blocks of queries; all keys that any of them may see
/// lie before `keys`.
template <class Body>
void for_query_blocks(const LinearAttentionPlan& p, const Body& body) {
  for (Index first = 0; first < p.queries; first += kTileQueries) {
    const Index count = std::min(kTileQueries, p.queries - first);
    body(first, count, p.options.at_labels ? p.length : first + count);
  }
}

/// Keys of the tile [first_key, first_key + count) that a query at `position` sees.
Index visible(Index position, Index first_key, Index count) {
  return std::clamp<Index>(position + 1 - first_key, 0, count);
}

template <class T>
void forward_quadratic(const LinearAttentionPlan& p, const Item<T>& it, T* scratch) {
  const bool taylor = p.options.kernel == LinearKernel::taylor;
  for_query_blocks(p, [&](Index first, Index count, Index keys) {
    const Matrix<T> y = it.y.block(first, count);
    for (Index key = 0; key < keys; key += kTileKeys) {
      const Index n = std::min(kTileKeys, keys - key);
      const Matrix<T> tile{scratch, count, n, kTileKeys};
      gemm<T>(Transpose::no, Transpose::yes, T(p.options.scale), it.q.block(first, count),
              it.k.block(key, n), false, tile);
      for (Index i = 0; i < count; ++i) {
        const Index seen = visible(it.position(first + i), key, n);
        if (taylor) taylor_row(tile.row(i), seen);
        std::fill(tile.row(i) + seen, tile.row(i) + n, T(0));
        const T sum = sum_row(tile.row(i), n);
        T& denominator = it.denominator(first + i);
        denominator = key == 0 ? T(p.options.eps) + sum : denominator + sum;
      }
      gemm<T>(Transpose::no, Transpose::no, T(1), tile, it.v.block(key, n), key > 0, y);
    }
    for (Index i = 0; i < count; ++i)
      scale_row(y.row(i), p.values, 1 / it.denominator(first + i));
  });
}

/// Gradients of one item; an empty matrix is not wanted.
template <class T>
struct ItemGradients {
  Matrix<T> dy, dq, dk, dv;
  bool add_dq;
};

template <class T>
ItemGradients<T> item_gradients(const LinearAttentionPlan& p, const LinearAttentionGradients<T>& g,
                                Index replica, Index index) {
  const Index b = index / p.options.heads, h = index % p.options.heads;
  const auto part = [&](const Gradient<T>& to, Index rows, Index cols, bool clear) {
    if (!to.wanted) return Matrix<T>{nullptr, 0, 0, 0};
    const Matrix<T> m = head_rows(to.view, replica, b, rows, h, cols);
    for (Index i = 0; clear && !to.accumulate && i < rows; ++i)
      std::fill_n(m.row(i), cols, T(0));
    return m;
  };
  return {head_rows(g.dy, replica, b, p.queries, h, p.values),
          part(g.dq, p.queries, p.features, false), part(g.dk, p.length, p.features, true),
          part(g.dv, p.length, p.values, true), g.dq.accumulate};
}

/// With n = dy / denominator and d = -<dy, y> / denominator, row by row:
/// dweight = n vᵀ + d on what is visible; dv = weightᵀ n; dscore = dweight (taylor: · (1 + s));
/// dq = scale · dscore k; dk = scale · dscoreᵀ q.
template <class T>
void backward_quadratic(const LinearAttentionPlan& p, const Item<T>& it, const ItemGradients<T>& g,
                        T* scratch) {
  const bool taylor = p.options.kernel == LinearKernel::taylor;
  const T scale = T(p.options.scale);
  T *const dtile_data = scratch + kTile, *const d = dtile_data + kTile;
  for_query_blocks(p, [&](Index first, Index count, Index keys) {
    const Matrix<T> q = it.q.block(first, count);
    const Matrix<T> n_hat{d + kTileQueries, count, p.values, p.values};
    for (Index i = 0; i < count; ++i) {
      const T* dy = g.dy.row(first + i);
      const T inverse = 1 / it.denominator(first + i);
      d[i] = -dot_rows(dy, it.y.row(first + i), p.values) * inverse;
      for (Index c = 0; c < p.values; ++c)
        n_hat.row(i)[c] = dy[c] * inverse;
    }
    for (Index key = 0; key < keys; key += kTileKeys) {
      const Index n = std::min(kTileKeys, keys - key);
      const Matrix<T> tile{scratch, count, n, kTileKeys}, dtile{dtile_data, count, n, kTileKeys};
      const Matrix<T> k = it.k.block(key, n);
      gemm<T>(Transpose::no, Transpose::yes, scale, q, k, false, tile);
      gemm<T>(Transpose::no, Transpose::yes, T(1), n_hat, it.v.block(key, n), false, dtile);
      for (Index i = 0; i < count; ++i) {
        const Index seen = visible(it.position(first + i), key, n);
        if (taylor)
          taylor_gradient_row(tile.row(i), dtile.row(i), d[i], seen);
        else
          add_to_row(dtile.row(i), d[i], seen);
        std::fill(tile.row(i) + seen, tile.row(i) + n, T(0));
        std::fill(dtile.row(i) + seen, dtile.row(i) + n, T(0));
      }
      if (g.dv.data != nullptr)
        gemm<T>(Transpose::yes, Transpose::no, T(1), tile, n_hat, true, g.dv.block(key, n));
      if (g.dq.data != nullptr)
        gemm<T>(Transpose::no, Transpose::no, scale, dtile, k, g.add_dq || key > 0,
                g.dq.block(first, count));
      if (g.dk.data != nullptr)
        gemm<T>(Transpose::yes, Transpose::no, scale, dtile, q, true, g.dk.block(key, n));
    }
  });
}

// Items are dealt to this many lanes, each with scratch of its own.
constexpr Index kLanes = 32;

Index lanes(const LinearAttentionPlan& plan) {
  return std::min(kLanes, plan.items());
}

Index lane_scratch(const LinearAttentionPlan& plan, bool backward) {
  const Index numbers = backward ? 2 * kTile + kTileQueries + kTileQueries * plan.values : kTile;
  return static_cast<Index>(align_up(static_cast<std::size_t>(numbers)));
}

/// body(item, lane's scratch) for every item of every replica.
template <class T, class Body>
void for_items(const LinearAttentionPlan& plan, const LinearAttentionTensors<T>& tensors,
               bool backward, const Body& body) {
  const Index stride = lane_scratch(plan, backward), count = lanes(plan);
  for (Index r = 0; r < tensors.q.replicas; ++r)
    parallel_for(count, [&](Index lane) {
      for (Index index = lane; index < plan.items(); index += count)
        body(r, index, tensors.scratch + lane * stride);
    });
}

}  // namespace

Index linear_attention_scratch(const LinearAttentionPlan& plan, bool backward) {
  return lanes(plan) * lane_scratch(plan, backward);
}

template <class T>
void linear_attention_forward_cpu(const LinearAttentionPlan& plan,
                                  const LinearAttentionTensors<T>& tensors) {
  for_items(plan, tensors, false, [&](Index replica, Index index, T* scratch) {
    forward_quadratic(plan, item(plan, tensors, replica, index), scratch);
  });
}

template <class T>
void linear_attention_backward_cpu(const LinearAttentionPlan& plan,
                                   const LinearAttentionTensors<T>& tensors,
                                   const LinearAttentionGradients<T>& gradients) {
  for_items(plan, tensors, true, [&](Index replica, Index index, T* scratch) {
    backward_quadratic(plan, item(plan, tensors, replica, index),
                       item_gradients(plan, gradients, replica, index), scratch);
  });
}

template void linear_attention_forward_cpu(const LinearAttentionPlan&,
                                           const LinearAttentionTensors<float>&);
template void linear_attention_forward_cpu(const LinearAttentionPlan&,
                                           const LinearAttentionTensors<double>&);
template void linear_attention_backward_cpu(const LinearAttentionPlan&,
                                            const LinearAttentionTensors<float>&,
                                            const LinearAttentionGradients<float>&);
template void linear_attention_backward_cpu(const LinearAttentionPlan&,
                                            const LinearAttentionTensors<double>&,
                                            const LinearAttentionGradients<double>&);

}  // namespace recallbench
