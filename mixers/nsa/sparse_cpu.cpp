#include "mixers/nsa/sparse_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/tensor/head_items.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 128;
constexpr double kNoScore = -1000, kNoShare = 1e-10;  // what no chosen block may be below

template <class T>
void add_multiple(T factor, const T* from, Index n, T* to) {
#pragma omp simd
  for (Index j = 0; j < n; ++j)
    to[j] += factor * from[j];
}

/// An item is an (example, key head), with room for three numbers a key.
HeadItems items_of(const SparseSize& s) {
  return {s.examples, s.options.kv_heads, 3 * s.keys};
}

/// Calls see(first, count) for the runs of keys that a query at t sees. `chosen` are its blocks.
template <class T, class See>
void for_visible(const SparseSize& s, Index t, const T* chosen, const See& see) {
  const GroupedAttentionOptions& o = s.options;
  if (o.visible == Visible::blocks) return see(0, std::min(s.keys, o.memory + t / o.block));
  if (o.visible == Visible::band) {
    const Index first = std::max<Index>(0, t - o.back);
    return see(first, std::min(s.keys, t + o.ahead + 1) - first);
  }
  for (Index i = 0; i < s.choices; ++i)
    if (chosen[i] >= T(0)) see(static_cast<Index>(chosen[i]) * o.block, o.block);
  const Index own = t / o.block * o.block;
  see(own, t + 1 - own);
}

/// One query head of one (example, key head).
template <class T>
struct HeadView {
  Matrix<T> q, k, v;
  Matrix<T> chosen;  // columns of its group

  HeadView(const SparseSize& s, const Matrix<T>& qs, const Matrix<T>& ks, const Matrix<T>& vs,
           const Matrix<T>& all_chosen, const HeadItem& query, const HeadItem& key)
      : q(query.of(qs)),
        k(key.of(ks)),
        v(key.of(vs)),
        chosen((s.groups == s.options.heads ? query : key).of(all_chosen)) {}
  const T* choices(Index i) const { return chosen.data == nullptr ? nullptr : chosen.row(i); }

  /// Probabilities of query i, at t, one after another as for_visible gives its keys.
  void probabilities(const SparseSize& s, Index i, Index t, T* p) const {
    const T scale = 1 / std::sqrt(static_cast<T>(s.head_dim));
    Index n = 0;
    T highest = 0, sum = 0;
    for_visible(s, t, choices(i), [&](Index first, Index count) {
      for (Index key = first; key < first + count; ++key, ++n) {
        p[n] = scale * dot(q.row(i), k.row(key), s.head_dim);
        highest = n == 0 ? p[n] : std::max(highest, p[n]);
      }
    });
    for (Index j = 0; j < n; ++j)
      sum += p[j] = std::exp(p[j] - highest);
    for (Index j = 0; j < n; ++j)
      p[j] /= sum;
  }
};

}  // namespace

template <class T>
void block_rows_cpu(const Matrix<T>& x, Index length, const Matrix<T>& places, Index block,
                    const Matrix<T>& y) {
  const Index f = places.cols, heads = x.cols / f, blocks = std::max<Index>(1, length / block);
  parallel_ranges(y.rows, kRowBlock, [&](Index first, Index count) {
    for (Index row = first; row < first + count; ++row) {
      const Index h = row % heads, w = row / heads % blocks, b = row / heads / blocks;
      for (Index n = 0; n < block; ++n)
        for (Index j = 0; j < f; ++j) {
          const Index t = w * block + n;
          y.row(row)[n * f + j] =
              (t < length ? x.row(b * length + t)[h * f + j] : T(0)) + places.row(h * block + n)[j];
        }
    }
  });
}

template <class T>
void block_rows_backward_cpu(const Matrix<T>& dy, Index length, Index block,
                             const MatrixGradient<T>& dx, const MatrixGradient<T>& dplaces) {
  const Index f = dy.cols / block, blocks = std::max<Index>(1, length / block);
  if (dx.wanted()) {
    const Index heads = dx.to.cols / f;
    parallel_ranges(dx.to.rows, kRowBlock, [&](Index first, Index count) {
      for (Index row = first; row < first + count; ++row) {
        const Index b = row / length, t = row % length, w = t / block;
        for (Index c = 0; c < heads * f; ++c)
          dx.write(
              row, c,
              w < blocks ? dy.row((b * blocks + w) * heads + c / f)[t % block * f + c % f] : T(0));
      }
    });
  }
  if (!dplaces.wanted()) return;
  const Index heads = dplaces.to.rows / block;
  dplaces.begin_sum();
  parallel_for(dplaces.to.rows, [&](Index place) {
    T* to = dplaces.to.row(place);
    for (Index row = place / block; row < dy.rows; row += heads)
      add_multiple(T(1), dy.row(row) + place % block * f, f, to);
  });
}

template <class T>
void with_memory_cpu(const Matrix<T>& x, const Matrix<T>& memory, Index rows, const Matrix<T>& y) {
  const Index f = memory.cols, heads = x.cols / f, kept = memory.rows / heads;
  parallel_ranges(y.rows, kRowBlock, [&](Index first, Index count) {
    for (Index row = first; row < first + count; ++row) {
      const Index b = row / rows, i = row % rows;
      if (i >= kept)
        std::copy_n(x.row(b * (rows - kept) + i - kept), x.cols, y.row(row));
      else
        for (Index h = 0; h < heads; ++h)
          std::copy_n(memory.row(h * kept + i), f, y.row(row) + h * f);
    }
  });
}

template <class T>
void with_memory_backward_cpu(const Matrix<T>& dy, Index rows, const MatrixGradient<T>& dx,
                              const MatrixGradient<T>& dmemory) {
  const Index examples = dy.rows / rows;
  if (dx.wanted()) {
    const Index blocks = dx.to.rows / examples;
    for (Index row = 0; row < dx.to.rows; ++row)
      dx.write_row(row, dy.row(row / blocks * rows + rows - blocks + row % blocks));
  }
  if (!dmemory.wanted()) return;
  const Index f = dmemory.to.cols, kept = dmemory.to.rows / (dy.cols / f);
  dmemory.begin_sum();
  for (Index row = 0; row < dmemory.to.rows; ++row)
    for (Index b = 0; b < examples; ++b)
      add_multiple(T(1), dy.row(b * rows + row % kept) + row / kept * f, f, dmemory.to.row(row));
}

Index grouped_attention_scratch(const SparseSize& s) {
  return items_of(s).scratch();
}

template <class T>
void grouped_attention_cpu(const SparseSize& s, const Matrix<T>& q, const Matrix<T>& k,
                           const Matrix<T>& v, const Matrix<T>& chosen, const Matrix<T>& o,
                           T* scratch) {
  const Index group = s.options.heads / s.options.kv_heads;
  items_of(s).run(scratch, [&](const HeadItem& at, T* p) {
    for (Index h = at.head * group; h < (at.head + 1) * group; ++h) {
      const HeadItem query{at.example, h, s.examples, s.options.heads};
      const HeadView<T> head(s, q, k, v, chosen, query, at);
      const Matrix<T> to = query.of(o);
      for (Index i = 0; i < s.queries; ++i) {
        const Index t = s.position(at.example * s.queries + i);
        head.probabilities(s, i, t, p);
        std::fill_n(to.row(i), s.head_dim, T(0));
        Index n = 0;
        for_visible(s, t, head.choices(i), [&](Index first, Index count) {
          for (Index key = first; key < first + count; ++key, ++n)
            add_multiple(p[n], head.v.row(key), s.head_dim, to.row(i));
        });
      }
    }
  });
}

template <class T>
void grouped_attention_backward_cpu(const SparseSize& s, const Matrix<T>& q, const Matrix<T>& k,
                                    const Matrix<T>& v, const Matrix<T>& chosen,
                                    const Matrix<T>& d_o, const MatrixGradient<T>& dq,
                                    const MatrixGradient<T>& dk, const MatrixGradient<T>& dv,
                                    T* scratch) {
  const Index group = s.options.heads / s.options.kv_heads, f = s.head_dim;
  const T scale = 1 / std::sqrt(static_cast<T>(f));
  items_of(s).run(scratch, [&](const HeadItem& at, T* p) {
    T* const dp = p + s.keys;
    const MatrixGradient<T> to_k = at.of(dk), to_v = at.of(dv);
    to_k.begin_sum();
    to_v.begin_sum();
    for (Index h = at.head * group; h < (at.head + 1) * group; ++h) {
      const HeadItem query{at.example, h, s.examples, s.options.heads};
      const HeadView<T> head(s, q, k, v, chosen, query, at);
      const Matrix<T> d = query.of(d_o);
      const MatrixGradient<T> to_q = query.of(dq);
      to_q.begin_sum();
      for (Index i = 0; i < s.queries; ++i) {
        const Index t = s.position(at.example * s.queries + i);
        head.probabilities(s, i, t, p);
        T along = 0;  // Σ_j p_j dp_j
        Index n = 0;
        for_visible(s, t, head.choices(i), [&](Index first, Index count) {
          for (Index key = first; key < first + count; ++key, ++n) {
            dp[n] = dot(d.row(i), head.v.row(key), f);
            along += p[n] * dp[n];
          }
        });
        n = 0;
        for_visible(s, t, head.choices(i), [&](Index first, Index count) {
          for (Index key = first; key < first + count; ++key, ++n) {
            const T ds = scale * p[n] * (dp[n] - along);
            if (to_q.wanted()) add_multiple(ds, head.k.row(key), f, to_q.to.row(i));
            if (to_k.wanted()) add_multiple(ds, head.q.row(i), f, to_k.to.row(key));
            if (to_v.wanted()) add_multiple(p[n], d.row(i), f, to_v.to.row(key));
          }
        });
      }
    }
  });
}

template <class T>
void choose_blocks_cpu(const SparseSize& s, const Matrix<T>& q, const Matrix<T>& k,
                       const Matrix<T>& chosen, T* scratch) {
  const GroupedAttentionOptions& o = s.options;
  const Index f = s.head_dim, of_kv = s.groups / o.kv_heads, averaged = o.heads / s.groups;
  const T scale = 1 / (std::sqrt(static_cast<T>(f)) * static_cast<T>(averaged));
  items_of(s).run(scratch, [&](const HeadItem& at, T* score) {
    const Index b = at.example, kv = at.head;
    for (Index row = b * s.queries; row < (b + 1) * s.queries; ++row)
      for (Index g = kv * of_kv; g < (kv + 1) * of_kv; ++g) {
        const Index blocks = std::min(s.keys - o.memory, s.position(row) / o.block);
        T highest = T(kNoScore), sum = 0;
        for (Index w = 0; w < blocks; ++w) {
          score[w] = 0;
          for (Index h = g * averaged; h < (g + 1) * averaged; ++h)
            score[w] +=
                scale * dot(q.row(row) + h * f, k.row(b * s.keys + o.memory + w) + kv * f, f);
          highest = std::max(highest, score[w]);
        }
        for (Index w = 0; w < blocks; ++w)
          sum += std::exp(score[w] - highest);
        sum += std::exp(T(kNoScore) - highest);
        T* to = chosen.row(row) + g * s.choices;
        for (Index i = 0; i < s.choices; ++i) {
          Index best = -1;
          for (Index w = 0; w < blocks; ++w)
            if (score[w] > T(-INFINITY) && (best < 0 || score[w] > score[best])) best = w;
          if (best >= 0 && !(std::exp(score[best] - highest) / sum > T(kNoShare))) best = -1;
          to[i] = static_cast<T>(best);
          if (best >= 0) score[best] = T(-INFINITY);
        }
      }
  });
}

template <class T>
void combine_branches_cpu(const Matrix<T>& gates, const Matrix<T>* branches, const Matrix<T>& y) {
  const Index f = y.cols / (gates.cols / 3);
  parallel_ranges(y.rows, kRowBlock, [&](Index first, Index count) {
    for (Index row = first; row < first + count; ++row)
      for (Index c = 0; c < y.cols; ++c) {
        T sum = 0;
        for (Index s = 0; s < 3; ++s)
          sum += gates.row(row)[c / f * 3 + s] * branches[s].row(row)[c];
        y.row(row)[c] = sum;
      }
  });
}

template <class T>
void combine_branches_backward_cpu(const Matrix<T>& gates, const Matrix<T>* branches,
                                   const Matrix<T>& dy, const MatrixGradient<T>& dgates,
                                   const MatrixGradient<T>* dbranches) {
  const Index f = dy.cols / (gates.cols / 3);
  parallel_ranges(dy.rows, kRowBlock, [&](Index first, Index count) {
    for (Index row = first; row < first + count; ++row)
      for (Index s = 0; s < 3; ++s) {
        if (dgates.wanted())
          for (Index h = 0; h < gates.cols / 3; ++h)
            dgates.write(row, 3 * h + s, dot(dy.row(row) + h * f, branches[s].row(row) + h * f, f));
        if (dbranches[s].wanted())
          for (Index c = 0; c < dy.cols; ++c)
            dbranches[s].write(row, c, gates.row(row)[c / f * 3 + s] * dy.row(row)[c]);
      }
  });
}

#define INSTANTIATE(T)                                                                            \
  template void block_rows_cpu(const Matrix<T>&, Index, const Matrix<T>&, Index,                  \
                               const Matrix<T>&);                                                 \
  template void block_rows_backward_cpu(const Matrix<T>&, Index, Index, const MatrixGradient<T>&, \
                                        const MatrixGradient<T>&);                                \
  template void with_memory_cpu(const Matrix<T>&, const Matrix<T>&, Index, const Matrix<T>&);     \
  template void with_memory_backward_cpu(const Matrix<T>&, Index, const MatrixGradient<T>&,       \
                                         const MatrixGradient<T>&);                               \
  template void grouped_attention_cpu(const SparseSize&, const Matrix<T>&, const Matrix<T>&,      \
                                      const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, T*);  \
  template void grouped_attention_backward_cpu(                                                   \
      const SparseSize&, const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, const Matrix<T>&,  \
      const Matrix<T>&, const MatrixGradient<T>&, const MatrixGradient<T>&,                       \
      const MatrixGradient<T>&, T*);                                                              \
  template void choose_blocks_cpu(const SparseSize&, const Matrix<T>&, const Matrix<T>&,          \
                                  const Matrix<T>&, T*);                                          \
  template void combine_branches_cpu(const Matrix<T>&, const Matrix<T>*, const Matrix<T>&);       \
  template void combine_branches_backward_cpu(const Matrix<T>&, const Matrix<T>*,                 \
                                              const Matrix<T>&, const MatrixGradient<T>&,         \
                                              const MatrixGradient<T>*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
