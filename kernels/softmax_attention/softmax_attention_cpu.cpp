#include "kernels/softmax_attention/softmax_attention_cpu.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "kernels/matmul/panels.h"
#include "kernels/tensor/head_items.h"

namespace recallbench {
namespace {

constexpr Index kLanes = 16;  // rows of scores begin and end at whole vectors
static_assert(kPanelCols % kLanes == 0);
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

/// A block of queries of one (example, head), and the keys that they see together.
struct QueryBlock {
  Index first, count;          // queries
  Index key_begin, key_end;    // keys that any of them sees; key_begin begins a panel
  const std::int32_t* placed;  // positions of the example's queries, or null
  Index reach;

  Index width() const { return key_end - key_begin; }
  Index position(Index row) const { return placed == nullptr ? first + row : placed[first + row]; }
  /// Visible keys [begin, end) of a row.
  Index begin(Index row) const { return std::max<Index>(0, position(row) - reach); }
  Index end(Index row) const { return position(row) + 1; }
};

struct KeySpan {
  Index begin, end;
};

/// The keys that rows [first, first + count) of the block see together.
KeySpan keys_of(const QueryBlock& block, Index first, Index count) {
  KeySpan span{block.begin(first), block.end(first)};
  for (Index i = first + 1; i < first + count; ++i) {
    span.begin = std::min(span.begin, block.begin(i));
    span.end = std::max(span.end, block.end(i));
  }
  return span;
}

QueryBlock query_block(const AttentionSizes& s, const std::int32_t* placed, Index first) {
  QueryBlock block{first, std::min(s.query_block(), s.queries - first), 0, 0, placed, s.reach};
  const KeySpan span = keys_of(block, 0, block.count);
  block.key_begin = span.begin / kPanelCols * kPanelCols;
  block.key_end = span.end;
  return block;
}

/// Calls body(first, count) for groups of kPanelRows out of n.
template <class Body>
void for_row_groups(Index n, const Body& body) {
  for (Index first = 0; first < n; first += kPanelRows)
    body(first, std::min(kPanelRows, n - first));
}

template <class T>
PanelOperand<T> rows_of(const Matrix<T>& m, Index first) {
  return {m.row(first), m.stride, 1};
}

/// What one (example, head) reads and writes; every matrix holds its rows and columns alone.
template <class T>
struct Head {
  Matrix<T> q, k, v, o;
  T* log_sum;
  const std::int32_t* placed;
  Index first_element;  // of the dropout mask
};

template <class T>
Head<T> head_of(const AttentionSizes& s, const AttentionReplica<T>& a, const HeadItem& at) {
  return {at.of(a.q),
          at.of(a.k),
          at.of(a.v),
          at.of(a.o),
          a.log_sum.row(at.index()),
          a.positions == nullptr ? nullptr : a.positions + at.example * s.queries,
          at.index() * s.keys * s.keys};
}

/// Calls body(item, scratch) for each (example, head), `per_slot` numbers of scratch for each.
template <class T, class Body>
void for_each_head(const AttentionSizes& s, Index per_slot, T* scratch, const Body& body) {
  const Index items = s.examples * s.heads, n = slots(s);
  parallel_for(n, [&](Index slot) {
    for (Index item = slot * items / n; item < (slot + 1) * items / n; ++item)
      body(HeadItem{item / s.heads, item % s.heads, s.examples, s.heads},
           scratch + slot * per_slot);
  });
}

/// Hands out parts of a slot's scratch.
template <class T>
struct Scratch {
  T* next;

  T* take(Index numbers) {
    T* const taken = next;
    next += numbers;
    return taken;
  }
  Panels<T> packed(const Matrix<T>& m) {
    const Panels<T> panels{take(panel_numbers(m.rows, m.cols)), m.rows, m.cols};
    pack_panels(m, panels);
    return panels;
  }
  Panels<T> packed_transpose(const Matrix<T>& m) {
    const Panels<T> panels{take(panel_numbers(m.cols, m.rows)), m.cols, m.rows};
    pack_transposed_panels(m, panels);
    return panels;
  }
};

/// scores(i, j) = scale · ⟨left_i, right_j⟩ where query i may see key j (and a little around it);
/// column 0 of scores is key block.key_begin. `right` holds one column a key.
template <class T>
void multiply_visible(const QueryBlock& block, T scale, const Matrix<T>& left,
                      const Panels<T>& right, const Matrix<T>& scores) {
  for_row_groups(block.count, [&](Index first, Index count) {
    const KeySpan span = keys_of(block, first, count);
    const Index panel = span.begin / kPanelCols;
    multiply_panels(count, scale, rows_of(left, first), right,
                    {0, right.rows, panel, panel_count(span.end)}, false,
                    scores.row(first) + (panel * kPanelCols - block.key_begin), scores.stride);
  });
}

/// out_i = scale · Σ_j weights(i, j) rows_j over visible keys, or out_i += that; `rows` holds one
/// row a key.
template <class T>
void sum_over_keys(const QueryBlock& block, T scale, const Matrix<T>& weights,
                   const Panels<T>& rows, bool accumulate, const Matrix<T>& out) {
  // Row 0 becomes that of the block's first key, so that both operands count keys from there.
  const Panels<T> from_block{rows.data + block.key_begin * kPanelCols, rows.rows, rows.cols};
  for_row_groups(block.count, [&](Index first, Index count) {
    const KeySpan span = keys_of(block, first, count);
    multiply_panels(
        count, scale, rows_of(weights, first), from_block,
        {span.begin - block.key_begin, span.end - block.key_begin, 0, panel_count(rows.cols)},
        accumulate, out.row(first), out.stride);
  });
}

/// out_j += scale · Σ_i weights(i, j) rows_i over the block's queries that may see key j; `rows`
/// holds one row a query of the block.
template <class T>
void sum_over_queries(const QueryBlock& block, T scale, const Matrix<T>& weights,
                      const Panels<T>& rows, const Matrix<T>& out) {
  for_row_groups(block.width(), [&](Index first, Index count) {
    const Index key = block.key_begin + first;
    Index begin = 0, end = block.count;
    if (block.placed == nullptr) {
      begin = std::max<Index>(0, key - block.first);
      end = std::min(block.count, key + count + block.reach - block.first);
    }
    if (begin >= end) return;
    multiply_panels(count, scale, PanelOperand<T>{weights.data + first, 1, weights.stride}, rows,
                    {begin, end, 0, panel_count(rows.cols)}, true, out.row(key), out.stride);
  });
}

/// A row of scores whose columns [begin, end) are visible → exp(score - shift) there, 0 elsewhere
/// up to `width`. The vectors at both ends are filled with a visible score first.
template <class T>
void exponentials(T* row, Index begin, Index end, Index width, T shift) {
  const Index from = begin / kLanes * kLanes, to = round_up(end);
  std::fill(row + from, row + begin, row[begin]);
  std::fill(row + end, row + to, row[begin]);
  auto seen = lanes(row + from, to - from);
  seen = (seen - shift).exp();
  std::fill(row, row + begin, T(0));
  std::fill(row + end, row + std::max(to, width), T(0));
}

template <class T>
T highest(T* row, Index begin, Index end) {
  T best = row[begin];
  for (Index j = begin; j < end; ++j)
    best = row[j] > best ? row[j] : best;
  return best;
}

/// The scales of the dropout mask for the visible keys of a row.
template <class T>
void row_scales(const AttentionSizes& s, const DropoutMask& mask, const Head<T>& head,
                const QueryBlock& block, Index row, T* scales) {
  const Index begin = block.begin(row);
  dropout_scales(mask, head.first_element + block.position(row) * s.keys + begin,
                 block.end(row) - begin, scales);
}

template <class T>
void forward_block(const AttentionSizes& s, const AttentionReplica<T>& a, const Head<T>& head,
                   const QueryBlock& block, const Panels<T>& keys, const Panels<T>& values,
                   Scratch<T> scratch) {
  const Matrix<T> scores{scratch.take(kQueryBlock * s.score_stride()), block.count, block.width(),
                         s.score_stride()};
  T* scales = scratch.take(s.score_stride());
  multiply_visible(block, static_cast<T>(s.scale), head.q.block(block.first, block.count), keys,
                   scores);
  T sums[kQueryBlock];
  for (Index i = 0; i < block.count; ++i) {
    const Index begin = block.begin(i) - block.key_begin, end = block.end(i) - block.key_begin;
    T* row = scores.row(i);
    const T shift = highest(row, begin, end);
    exponentials(row, begin, end, scores.cols, shift);
    sums[i] = lanes(row, round_up(end)).sum();
    head.log_sum[block.first + i] = shift + std::log(sums[i]);
    if (!a.mask) continue;
    row_scales(s, *a.mask, head, block, i, scales);
    for (Index j = begin; j < end; ++j)
      row[j] *= scales[j - begin];
  }
  const Matrix<T> o = head.o.block(block.first, block.count);
  sum_over_keys(block, T(1), scores, values, false, o);
  for (Index i = 0; i < block.count; ++i)
    for (Index j = 0; j < o.cols; ++j)
      o.row(i)[j] /= sums[i];
}

/// Rows of scores and of d_p = d_o · vᵀ → dropped probabilities and d_s = a ⊙ (drop(d_p) - δ),
/// where δ_i = ⟨d_o_i, o_i⟩ = Σ_j a_j d_a_j.
template <class T>
void backward_rows(const AttentionSizes& s, const AttentionReplica<T>& a, const Head<T>& head,
                   const QueryBlock& block, const Matrix<T>& d_o, const Matrix<T>& p,
                   const Matrix<T>& d_p, T* scales) {
  for (Index i = 0; i < block.count; ++i) {
    const Index begin = block.begin(i) - block.key_begin, end = block.end(i) - block.key_begin;
    T *row = p.row(i), *d_row = d_p.row(i);
    const T *o = head.o.row(block.first + i), *d_o_row = d_o.row(i);
    T delta = 0;
    for (Index j = 0; j < d_o.cols; ++j)
      delta += o[j] * d_o_row[j];
    exponentials(row, begin, end, p.cols, head.log_sum[block.first + i]);
    std::fill(d_row, d_row + begin, T(0));
    std::fill(d_row + end, d_row + d_p.cols, T(0));
    if (!a.mask) {
      for (Index j = begin; j < end; ++j)
        d_row[j] = row[j] * (d_row[j] - delta);
      continue;
    }
    row_scales(s, *a.mask, head, block, i, scales);
    for (Index j = begin; j < end; ++j) {
      d_row[j] = row[j] * (d_row[j] * scales[j - begin] - delta);
      row[j] *= scales[j - begin];
    }
  }
}

/// Keys and values of one head, packed for backward.
template <class T>
struct PackedHead {
  Panels<T> keys_transposed, values_transposed, keys;
};

template <class T>
struct HeadGradients {
  MatrixGradient<T> q, k, v;
};

template <class T>
void backward_block(const AttentionSizes& s, const AttentionReplica<T>& a, const Head<T>& head,
                    const QueryBlock& block, const PackedHead<T>& packed, const Matrix<T>& d_o,
                    const HeadGradients<T>& g, Scratch<T> scratch) {
  const Index stride = s.score_stride();
  const Matrix<T> p{scratch.take(kQueryBlock * stride), block.count, block.width(), stride};
  const Matrix<T> d_p{scratch.take(kQueryBlock * stride), block.count, block.width(), stride};
  T* scales = scratch.take(stride);
  const Matrix<T> q = head.q.block(block.first, block.count);
  const T scale = static_cast<T>(s.scale);
  multiply_visible(block, scale, q, packed.keys_transposed, p);
  multiply_visible(block, T(1), d_o, packed.values_transposed, d_p);
  backward_rows(s, a, head, block, d_o, p, d_p, scales);
  if (g.v.wanted()) sum_over_queries(block, T(1), p, scratch.packed(d_o), g.v.to);
  if (g.k.wanted()) sum_over_queries(block, scale, d_p, scratch.packed(q), g.k.to);
  if (g.q.wanted())
    sum_over_keys(block, scale, d_p, packed.keys, g.q.accumulate,
                  g.q.to.block(block.first, block.count));
}

}  // namespace

Index AttentionSizes::query_block() const {
  return std::min(kQueryBlock, queries);
}

Index AttentionSizes::score_stride() const {
  return round_up(at_labels ? keys : std::min(keys, reach + kQueryBlock + kPanelCols));
}

Index AttentionSizes::slot_forward() const {
  return panel_numbers(key_width, keys) + panel_numbers(keys, value_width) +
         (kQueryBlock + 1) * score_stride();
}

Index AttentionSizes::slot_backward() const {
  return panel_numbers(key_width, keys) + panel_numbers(value_width, keys) +
         panel_numbers(keys, key_width) + (2 * kQueryBlock + 1) * score_stride() +
         panel_numbers(kQueryBlock, key_width) + panel_numbers(kQueryBlock, value_width);
}

Index AttentionSizes::scratch_forward() const {
  return slots(*this) * slot_forward();
}

Index AttentionSizes::scratch_backward() const {
  return slots(*this) * slot_backward();
}

template <class T>
void softmax_attention_forward_cpu(const AttentionSizes& s, const AttentionReplica<T>& a,
                                   T* scratch) {
  for_each_head(s, s.slot_forward(), scratch, [&](const HeadItem& at, T* slot) {
    const Head<T> head = head_of(s, a, at);
    Scratch<T> mine{slot};
    const Panels<T> keys = mine.packed_transpose(head.k), values = mine.packed(head.v);
    for (Index first = 0; first < s.queries; first += s.query_block())
      forward_block(s, a, head, query_block(s, head.placed, first), keys, values, mine);
  });
}

template <class T>
void softmax_attention_backward_cpu(const AttentionSizes& s, const AttentionReplica<T>& a,
                                    const Matrix<T>& d_o, const MatrixGradient<T>& dq,
                                    const MatrixGradient<T>& dk, const MatrixGradient<T>& dv,
                                    T* scratch) {
  for_each_head(s, s.slot_backward(), scratch, [&](const HeadItem& at, T* slot) {
    const Head<T> head = head_of(s, a, at);
    const Matrix<T> d_o_head = at.of(d_o);
    const HeadGradients<T> gradients{at.of(dq), at.of(dk), at.of(dv)};
    gradients.k.begin_sum();
    gradients.v.begin_sum();
    Scratch<T> mine{slot};
    const Panels<T> keys_transposed = mine.packed_transpose(head.k);
    const Panels<T> values_transposed = mine.packed_transpose(head.v);
    const PackedHead<T> packed{keys_transposed, values_transposed, mine.packed(head.k)};
    for (Index first = 0; first < s.queries; first += s.query_block()) {
      const QueryBlock block = query_block(s, head.placed, first);
      backward_block(s, a, head, block, packed, d_o_head.block(first, block.count), gradients,
                     mine);
    }
  });
}

template void softmax_attention_forward_cpu(const AttentionSizes&, const AttentionReplica<float>&,
                                            float*);
template void softmax_attention_forward_cpu(const AttentionSizes&, const AttentionReplica<double>&,
                                            double*);
template void softmax_attention_backward_cpu(const AttentionSizes&, const AttentionReplica<float>&,
                                             const Matrix<float>&, const MatrixGradient<float>&,
                                             const MatrixGradient<float>&,
                                             const MatrixGradient<float>&, float*);
template void softmax_attention_backward_cpu(const AttentionSizes&, const AttentionReplica<double>&,
                                             const Matrix<double>&, const MatrixGradient<double>&,
                                             const MatrixGradient<double>&,
                                             const MatrixGradient<double>&, double*);

}  // namespace recallbench
