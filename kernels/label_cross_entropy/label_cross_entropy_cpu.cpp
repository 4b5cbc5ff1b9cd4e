#include "kernels/label_cross_entropy/label_cross_entropy_cpu.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "kernels/matmul/gemm.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Rows of logits that exist at a time: 128 x 8192 floats stay in a second-level cache's reach;
// 512 rows and more were measured slower by a third.
constexpr Index kChunk = 128;
// Columns of the vocabulary that one thread multiplies.
constexpr Index kVocabBlock = 2048;
// Rows whose softmax one thread takes.
constexpr Index kSoftmaxRows = 16;

Index vocab_blocks(Index vocab) {
  return (vocab + kVocabBlock - 1) / kVocabBlock;
}

/// Turns one row of logits into row loss and correctness and, where training, into
/// scale · (softmax - onehot(target)).
template <class T>
void softmax_row(T* logits, Index vocab, Index target, bool training, T scale, T* row_loss,
                 T* correct) {
  using Row = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;
  T largest = logits[0];
#pragma omp simd reduction(max : largest)
  for (Index v = 0; v < vocab; ++v)
    largest = std::max(largest, logits[v]);
  const T of_target = logits[target];
  const bool first = std::find(logits, logits + target, largest) == logits + target;
  *correct = of_target == largest && first ? T(1) : T(0);
  Row row(logits, vocab);
  row = (row - largest).exp();
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index v = 0; v < vocab; ++v)
    sum += logits[v];
  *row_loss = std::log(sum) + (largest - of_target);
  if (!training) return;
  const T factor = scale / sum;
  for (Index v = 0; v < vocab; ++v)
    logits[v] *= factor;
  logits[target] -= scale;
}

/// dh and dtable from one chunk's d logits. Blocks of the vocabulary are independent for dtable;
/// for dh each leaves a partial sum, and these are added in order.
template <class T>
void chunk_gradients(const LabelCrossEntropyArguments<T>& a, const Matrix<T>& dlogits, Index first,
                     T* partial) {
  const Index count = dlogits.rows, dim = a.h.cols, vocab = a.table.rows;
  const Index blocks = vocab_blocks(vocab);
  parallel_for(blocks, [&](Index block) {
    const Index v = block * kVocabBlock, width = std::min(kVocabBlock, vocab - v);
    const Matrix<T> d = dlogits.columns(v, width);
    if (a.dtable.wanted)
      gemm<T>(Transpose::yes, Transpose::no, T(1), d, a.h.block(first, count),
              a.dtable.accumulate || first > 0, a.dtable.view.replica(a.replica).block(v, width));
    if (a.dh.wanted)
      gemm<T>(Transpose::no, Transpose::no, T(1), d, a.table.block(v, width), false,
              Matrix<T>{partial + block * kChunk * dim, count, dim, dim});
  });
  if (!a.dh.wanted) return;
  for (Index i = 0; i < count; ++i) {
    T* to = a.dh.view.replica(a.replica).row(first + i);
    if (!a.dh.accumulate) std::fill_n(to, dim, T(0));
    for (Index block = 0; block < blocks; ++block) {
      const T* from = partial + (block * kChunk + i) * dim;
      for (Index j = 0; j < dim; ++j)
        to[j] += from[j];
    }
  }
}

}  // namespace

Index label_cross_entropy_scratch(Index vocab, Index cols) {
  return kChunk * (vocab + vocab_blocks(vocab) * cols);
}

template <class T>
void label_cross_entropy_cpu(const LabelCrossEntropyArguments<T>& a) {
  const Index rows = a.h.rows, vocab = a.table.rows;
  double total = 0, loss = 0;
  for (Index i = 0; i < rows; ++i)
    total += a.weights[i];
  for (Index first = 0; first < rows; first += kChunk) {
    const Index count = std::min(kChunk, rows - first);
    const Matrix<T> logits{a.scratch, count, vocab, vocab};
    parallel_for(vocab_blocks(vocab), [&](Index block) {
      const Index v = block * kVocabBlock, width = std::min(kVocabBlock, vocab - v);
      gemm<T>(Transpose::no, Transpose::yes, T(1), a.h.block(first, count), a.table.block(v, width),
              false, logits.columns(v, width));
    });
    parallel_ranges(count, kSoftmaxRows, [&](Index begin, Index n) {
      for (Index i = begin; i < begin + n; ++i) {
        const Index row = first + i;
        softmax_row(logits.row(i), vocab, a.targets[row], a.training,
                    static_cast<T>(a.weights[row] / total), a.row_loss.row(row),
                    a.correct.row(row));
      }
    });
    for (Index i = first; i < first + count; ++i)
      if (a.weights[i] != 0) loss += a.weights[i] * static_cast<double>(*a.row_loss.row(i));
    if (a.training) chunk_gradients(a, logits, first, a.scratch + kChunk * vocab);
  }
  *a.loss = static_cast<T>(loss / total);
}

template void label_cross_entropy_cpu(const LabelCrossEntropyArguments<float>&);
template void label_cross_entropy_cpu(const LabelCrossEntropyArguments<double>&);

}  // namespace recallbench
