#include "kernels/softmax_attention/softmax_attention_cpu.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/matmul/gemm.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

constexpr Index kLanes = 16;  // rows of scores are padded to whole vectors
constexpr Index kSlots = 32;  // groups of (example, head) pairs, each with its working memory
constexpr Index kQueryBlock = 64;

Index round_up(Index n) {
  return (n + kLanes - 1) / kLanes * kLanes;
}

Index slots(const AttentionSizes& s) {
  return std::min(s.examples * s.heads, kSlots);
}

/// Numbers of a row that begins and ends at whole vectors.
template <class T>
auto lanes(T* first, Index count) {
  return Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>, Eigen::Aligned64>(first, count);
}

/// A block of queries of one (example, head): which rows, which keys they see together.
struct QueryBlock {
  Index first, count;          // queries
  Index key_begin, key_end;    // keys that any of them sees
  const std::int32_t* placed;  // positions of the example's queries, or null
  Index reach;

  Index keys() const { return key_end - key_begin; }
  Index position(Index row) const { return placed == nullptr ? first + row : placed[first + row]; }
  /// Visible columns [begin, end) of a row of the block's scores.
  Index begin(Index row) const { return std::max<Index>(0, position(row) - reach) - key_begin; }
  Index end(Index row) const { return position(row) + 1 - key_begin; }
};

QueryBlock query_block(const AttentionSizes& s, const std::int32_t* placed, Index first) {
  QueryBlock block{first, std::min(s.query_block(), s.queries - first), 0, 0, placed, s.reach};
  Index lowest = s.keys, highest = 0;
  for (Index i = 0; i < block.count; ++i) {
    lowest = std::min(lowest, block.position(i));
    highest = std::max(highest, block.position(i));
  }
  block.key_begin = std::max<Index>(0, lowest - s.reach);
  block.key_end = highest + 1;
  return block;
}

/// What one (example, head) reads; every matrix holds its rows and columns alone.
template <class T>
struct Head {
  Matrix<T> q, k, v, o;
  T* log_sum;
  const std::int32_t* placed;
  Index first_element;  // of the dropout mask
};

template <class T>
Matrix<T> part(const Matrix<T>& all, Index example, Index rows, Index head, Index heads) {
  const Index width = all.cols / heads;
  return all.block(example * rows, rows).columns(head * width, width);
}

template <class T>
Head<T> head_of(const AttentionSizes& s, const AttentionReplica<T>& a, Index item) {
  const Index b = item / s.heads, h = item % s.heads;
  return {part(a.q, b, s.queries, h, s.heads),
          part(a.k, b, s.keys, h, s.heads),
          part(a.v, b, s.keys, h, s.heads),
          part(a.o, b, s.queries, h, s.heads),
          a.log_sum.row(item),
          a.positions == nullptr ? nullptr : a.positions + b * s.queries,
          item * s.keys * s.keys};
}

/// Calls body(item, scratch) for each (example, head), `per_slot` numbers of scratch for each.
template <class T, class Body>
void for_each_head(const AttentionSizes& s, Index per_slot, T* scratch, const Body& body) {
  const Index items = s.examples * s.heads, n = slots(s);
  parallel_for(n, [&](Index slot) {
    for (Index item = slot * items / n; item < (slot + 1) * items / n; ++item)
      body(item, scratch + slot * per_slot);
  });
}

/// scores = scale · q · kᵀ of the block.
template <class T>
void multiply_scores(const AttentionSizes& s, const Head<T>& head, const QueryBlock& block,
                     const Matrix<T>& scores) {
  gemm<T>(Transpose::no, Transpose::yes, static_cast<T>(s.scale),
          head.q.block(block.first, block.count), head.k.block(block.key_begin, block.keys()),
          false, scores);
}

template <class T>
void zero_invisible(T* row, Index begin, Index end, Index keys) {
  std::fill(row, row + begin, T(0));
  std::fill(row + end, row + keys, T(0));
}

/// Row of scores → exp(s - max), zero where invisible. Returns the logarithm of Σ exp(s); `sum`
/// becomes Σ exp(s - max).
template <class T>
T exponentials(T* row, Index begin, Index end, Index keys, T& sum) {
  const Index from = begin / kLanes * kLanes, to = round_up(end);
  std::fill(row + from, row + begin, row[begin]);
  std::fill(row + end, row + to, row[begin]);
  auto seen = lanes(row + from, to - from);
  const T highest = seen.maxCoeff();
  seen = (seen - highest).exp();
  std::fill(row, row + begin, T(0));
  std::fill(row + end, row + std::max(to, keys), T(0));
  sum = seen.sum();
  return highest + std::log(sum);
}

template <class T>
void forward_block(const AttentionSizes& s, const AttentionReplica<T>& a, const Head<T>& head,
                   const QueryBlock& block, T* scratch) {
  const Matrix<T> scores{scratch, block.count, block.keys(), s.score_stride()};
  multiply_scores(s, head, block, scores);
  T* scales = scratch + s.query_block() * scores.stride;
  T sums[kQueryBlock];
  for (Index i = 0; i < block.count; ++i) {
    const Index begin = block.begin(i), end = block.end(i);
    T* row = scores.row(i);
    head.log_sum[block.first + i] = exponentials(row, begin, end, scores.cols, sums[i]);
    if (!a.mask) continue;
    dropout_scales(*a.mask,
                   head.first_element + block.position(i) * s.keys + block.key_begin + begin,
                   end - begin, scales);
    for (Index j = begin; j < end; ++j)
      row[j] *= scales[j - begin];
  }
  const Matrix<T> o = head.o.block(block.first, block.count);
  gemm<T>(Transpose::no, Transpose::no, T(1), scores, head.v.block(block.key_begin, block.keys()),
          false, o);
  for (Index i = 0; i < block.count; ++i) {
    const T inverse = 1 / sums[i];
    T* row = o.row(i);
    for (Index j = 0; j < o.cols; ++j)
      row[j] *= inverse;
  }
}

/// Rows of scores and of d_p = d_o · vᵀ → dropped probabilities and d_s = a ⊙ (drop(d_p) - δ),
/// where δ_i = ⟨d_o_i, o_i⟩ = Σ_j a_j d_a_j.
template <class T>
void backward_rows(const AttentionSizes& s, const AttentionReplica<T>& a, const Head<T>& head,
                   const QueryBlock& block, const Matrix<T>& d_o, const Matrix<T>& p,
                   const Matrix<T>& d_p, T* scales) {
  for (Index i = 0; i < block.count; ++i) {
    const Index begin = block.begin(i), end = block.end(i);
    T *row = p.row(i), *d_row = d_p.row(i);
    const T *o = head.o.row(block.first + i), *d_o_row = d_o.row(i);
    T delta = 0;
    for (Index j = 0; j < d_o.cols; ++j)
      delta += o[j] * d_o_row[j];
    const Index from = begin / kLanes * kLanes, to = round_up(end);
    std::fill(row + p.cols, row + std::max(to, p.cols), T(0));
    auto seen = lanes(row + from, to - from);
    seen = (seen - head.log_sum[block.first + i]).exp();
    zero_invisible(row, begin, end, p.cols);
    std::fill(d_row, d_row + begin, T(0));
    std::fill(d_row + end, d_row + p.cols, T(0));
    if (!a.mask) {
      for (Index j = begin; j < end; ++j)
        d_row[j] = row[j] * (d_row[j] - delta);
      continue;
    }
    dropout_scales(*a.mask,
                   head.first_element + block.position(i) * s.keys + block.key_begin + begin,
                   end - begin, scales);
    for (Index j = begin; j < end; ++j) {
      d_row[j] = row[j] * (d_row[j] * scales[j - begin] - delta);
      row[j] *= scales[j - begin];
    }
  }
}

/// Of one head; k and v are zeroed before the blocks add to them.
template <class T>
struct HeadGradients {
  AttentionGradient<T> q, k, v;
};

template <class T>
void backward_block(const AttentionSizes& s, const AttentionReplica<T>& a, const Head<T>& head,
                    const QueryBlock& block, const Matrix<T>& d_o, const HeadGradients<T>& g,
                    T* scratch) {
  const Index stride = s.score_stride();
  const Matrix<T> p{scratch, block.count, block.keys(), stride};
  const Matrix<T> d_p{p.row(s.query_block()), block.count, block.keys(), stride};
  multiply_scores(s, head, block, p);
  gemm<T>(Transpose::no, Transpose::yes, T(1), d_o, head.v.block(block.key_begin, block.keys()),
          false, d_p);
  backward_rows(s, a, head, block, d_o, p, d_p, d_p.row(s.query_block()));
  const T scale = static_cast<T>(s.scale);
  if (g.v.wanted)
    gemm<T>(Transpose::yes, Transpose::no, T(1), p, d_o, true,
            g.v.view.block(block.key_begin, block.keys()));
  if (g.k.wanted)
    gemm<T>(Transpose::yes, Transpose::no, scale, d_p, head.q.block(block.first, block.count), true,
            g.k.view.block(block.key_begin, block.keys()));
  if (g.q.wanted)
    gemm<T>(Transpose::no, Transpose::no, scale, d_p, head.k.block(block.key_begin, block.keys()),
            g.q.accumulate, g.q.view.block(block.first, block.count));
}

template <class T>
void zero_unless_accumulating(const AttentionGradient<T>& g) {
  if (!g.wanted || g.accumulate) return;
  for (Index i = 0; i < g.view.rows; ++i)
    std::fill_n(g.view.row(i), g.view.cols, T(0));
}

}  // namespace

Index AttentionSizes::query_block() const {
  return std::min<Index>(kQueryBlock, queries);
}

Index AttentionSizes::score_stride() const {
  return round_up(at_labels ? keys : std::min(keys, reach + query_block()));
}

Index AttentionSizes::scratch_forward() const {
  return slots(*this) * (query_block() + 1) * score_stride();
}

Index AttentionSizes::scratch_backward() const {
  return slots(*this) * (2 * query_block() + 1) * score_stride();
}

template <class T>
void softmax_attention_forward_cpu(const AttentionSizes& s, const AttentionReplica<T>& a,
                                   T* scratch) {
  const Index per_slot = s.scratch_forward() / slots(s);
  for_each_head(s, per_slot, scratch, [&](Index item, T* mine) {
    const Head<T> head = head_of(s, a, item);
    for (Index first = 0; first < s.queries; first += s.query_block())
      forward_block(s, a, head, query_block(s, head.placed, first), mine);
  });
}

template <class T>
void softmax_attention_backward_cpu(const AttentionSizes& s, const AttentionReplica<T>& a,
                                    const Matrix<T>& d_o, const AttentionGradient<T>& dq,
                                    const AttentionGradient<T>& dk, const AttentionGradient<T>& dv,
                                    T* scratch) {
  const Index per_slot = s.scratch_backward() / slots(s);
  for_each_head(s, per_slot, scratch, [&](Index item, T* mine) {
    const Head<T> head = head_of(s, a, item);
    const Index b = item / s.heads, h = item % s.heads;
    const Matrix<T> d_o_head = part(d_o, b, s.queries, h, s.heads);
    const auto gradient = [&](const AttentionGradient<T>& g, Index rows) {
      return g.wanted ? AttentionGradient<T>{part(g.view, b, rows, h, s.heads), true, g.accumulate}
                      : g;
    };
    const HeadGradients<T> gradients{gradient(dq, s.queries), gradient(dk, s.keys),
                                     gradient(dv, s.keys)};
    zero_unless_accumulating(gradients.k);
    zero_unless_accumulating(gradients.v);
    for (Index first = 0; first < s.queries; first += s.query_block()) {
      const QueryBlock block = query_block(s, head.placed, first);
      backward_block(s, a, head, block, d_o_head.block(first, block.count), gradients, mine);
    }
  });
}

template void softmax_attention_forward_cpu(const AttentionSizes&, const AttentionReplica<float>&,
                                            float*);
template void softmax_attention_forward_cpu(const AttentionSizes&, const AttentionReplica<double>&,
                                            double*);
template void softmax_attention_backward_cpu(const AttentionSizes&, const AttentionReplica<float>&,
                                             const Matrix<float>&, const AttentionGradient<float>&,
                                             const AttentionGradient<float>&,
                                             const AttentionGradient<float>&, float*);
template void softmax_attention_backward_cpu(const AttentionSizes&, const AttentionReplica<double>&,
                                             const Matrix<double>&,
                                             const AttentionGradient<double>&,
                                             const AttentionGradient<double>&,
                                             const AttentionGradient<double>&, double*);

}  // namespace recallbench
