// Tiles of weights of a block of queries against the keys before it.
#include "kernels/linear_attention/item_cpu.h"
#include "kernels/linear_attention/rows_cpu.h"
#include "kernels/matmul/gemm.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

// A tile of weights stays in the first or second-level cache, wastes little above the diagonal,
// and its products are large enough for the kernel. (Measured: 32 x 128 beats 64 x 128 by a tenth
// at L = 256, by a quarter at L = 64.)
constexpr Index kTileQueries = 32;
constexpr Index kTileKeys = 128;
constexpr Index kTile = kTileQueries * kTileKeys;

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

}  // namespace

Index quadratic_scratch(const LinearAttentionPlan& plan, bool backward) {
  return backward ? 2 * kTile + kTileQueries * (1 + plan.values) : kTile;
}

template <class T>
void quadratic_forward(const LinearAttentionPlan& p, const LinearAttentionItem<T>& it, T* scratch) {
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

/// With n = dy / denominator and d = -<dy, y> / denominator, row by row:
/// dweight = n vᵀ + d on what is visible; dv = weightᵀ n; dscore = dweight (taylor: · (1 + s));
/// dq = scale · dscore k; dk = scale · dscoreᵀ q.
template <class T>
void quadratic_backward(const LinearAttentionPlan& p, const LinearAttentionItem<T>& it,
                        const LinearAttentionItemGradients<T>& g, T* scratch) {
  const bool taylor = p.options.kernel == LinearKernel::taylor;
  const T scale = T(p.options.scale);
  T *const dtile_data = scratch + kTile, *const d = dtile_data + kTile;
  for_query_blocks(p, [&](Index first, Index count, Index keys) {
    const Matrix<T> q = it.q.block(first, count);
    const Matrix<T> n_hat{d + kTileQueries, count, p.values, p.values};
    for (Index i = 0; i < count; ++i) {
      const T* dy = g.dy.row(first + i);
      const T inverse = 1 / it.denominator(first + i);
      d[i] = -dot_in_lanes(dy, it.y.row(first + i), p.values) * inverse;
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
      if (g.dq.wanted())
        gemm<T>(Transpose::no, Transpose::no, scale, dtile, k, g.dq.accumulate || key > 0,
                g.dq.to.block(first, count));
      if (g.dk.wanted())
        gemm<T>(Transpose::yes, Transpose::no, scale, dtile, q, true, g.dk.to.block(key, n));
      if (g.dv.wanted())
        gemm<T>(Transpose::yes, Transpose::no, T(1), tile, n_hat, true, g.dv.to.block(key, n));
    }
  });
}

template void quadratic_forward(const LinearAttentionPlan&, const LinearAttentionItem<float>&,
                                float*);
template void quadratic_forward(const LinearAttentionPlan&, const LinearAttentionItem<double>&,
                                double*);
template void quadratic_backward(const LinearAttentionPlan&, const LinearAttentionItem<float>&,
                                 const LinearAttentionItemGradients<float>&, float*);
template void quadratic_backward(const LinearAttentionPlan&, const LinearAttentionItem<double>&,
                                 const LinearAttentionItemGradients<double>&, double*);

}  // namespace recallbench
