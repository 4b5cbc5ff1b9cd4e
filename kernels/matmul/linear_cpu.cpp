#include "kernels/matmul/linear_cpu.h"

#include <algorithm>

#include "kernels/matmul/gemm.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Rows that one product takes: enough to fill the kernel, few enough to stay in a core's cache.
constexpr Index kRowBlock = 512;
// Rows that one partial weight gradient sums over; the partial ones are then added in order.
constexpr Index kSumBlock = 4096;

Index sum_blocks(Index rows) {
  return std::max<Index>(1, (rows + kSumBlock - 1) / kSumBlock);
}

template <class T>
void weight_gradient(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& dweight,
                     bool accumulate, T* partial) {
  const Index out = dweight.rows, in = dweight.cols, blocks = sum_blocks(x.rows);
  parallel_for(blocks, [&](Index block) {
    const Index first = block * kSumBlock;
    const Index count = std::min(kSumBlock, x.rows - first);
    gemm<T>(Transpose::yes, Transpose::no, T(1), dy.block(first, count), x.block(first, count),
            false, Matrix<T>{partial + block * out * in, out, in, in});
  });
  for (Index i = 0; i < out; ++i) {
    T* to = dweight.row(i);
    if (!accumulate) std::fill(to, to + in, T(0));
    for (Index block = 0; block < blocks; ++block) {
      const T* from = partial + (block * out + i) * in;
      for (Index j = 0; j < in; ++j)
        to[j] += from[j];
    }
  }
}

template <class T>
void bias_gradient(const Matrix<T>& dy, T* dbias, bool accumulate, T* partial) {
  const Index out = dy.cols, blocks = sum_blocks(dy.rows);
  parallel_for(blocks, [&](Index block) {
    T* sum = partial + block * out;
    std::fill(sum, sum + out, T(0));
    const Index end = std::min(dy.rows, (block + 1) * kSumBlock);
    for (Index i = block * kSumBlock; i < end; ++i) {
      const T* row = dy.row(i);
      for (Index j = 0; j < out; ++j)
        sum[j] += row[j];
    }
  });
  if (!accumulate) std::fill(dbias, dbias + out, T(0));
  for (Index block = 0; block < blocks; ++block)
    for (Index j = 0; j < out; ++j)
      dbias[j] += partial[block * out + j];
}

}  // namespace

Index linear_scratch(Index rows, Index out, Index in) {
  return sum_blocks(rows) * out * (in + 1);
}

template <class T>
void linear_forward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& bias,
                        const Batched<T>& y) {
  for (Index r = 0; r < x.replicas; ++r) {
    const Matrix<T> xs = x.replica(r), w = weight.replica(r), ys = y.replica(r);
    const T* b = bias.data == nullptr ? nullptr : bias.replica(r).data;
    parallel_ranges(xs.rows, kRowBlock, [&](Index first, Index count) {
      const Matrix<T> block = ys.block(first, count);
      if (b != nullptr)
        for (Index i = 0; i < count; ++i)
          std::copy(b, b + block.cols, block.row(i));
      gemm<T>(Transpose::no, Transpose::yes, T(1), xs.block(first, count), w, b != nullptr, block);
    });
  }
}

template <class T>
void linear_backward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& dy,
                         const Gradient<T>& dx, const Gradient<T>& dweight,
                         const Gradient<T>& dbias, T* scratch) {
  for (Index r = 0; r < x.replicas; ++r) {
    const Matrix<T> w = weight.replica(r), dys = dy.replica(r);
    if (dx.wanted) {
      const Matrix<T> dxs = dx.view.replica(r);
      parallel_ranges(dys.rows, kRowBlock, [&](Index first, Index count) {
        gemm<T>(Transpose::no, Transpose::no, T(1), dys.block(first, count), w, dx.accumulate,
                dxs.block(first, count));
      });
    }
    if (dweight.wanted)
      weight_gradient(x.replica(r), dys, dweight.view.replica(r), dweight.accumulate, scratch);
    if (dbias.wanted) bias_gradient(dys, dbias.view.replica(r).data, dbias.accumulate, scratch);
  }
}

template void linear_forward_cpu(const Batched<float>&, const Batched<float>&,
                                 const Batched<float>&, const Batched<float>&);
template void linear_forward_cpu(const Batched<double>&, const Batched<double>&,
                                 const Batched<double>&, const Batched<double>&);
template void linear_backward_cpu(const Batched<float>&, const Batched<float>&,
                                  const Batched<float>&, const Gradient<float>&,
                                  const Gradient<float>&, const Gradient<float>&, float*);
template void linear_backward_cpu(const Batched<double>&, const Batched<double>&,
                                  const Batched<double>&, const Gradient<double>&,
                                  const Gradient<double>&, const Gradient<double>&, double*);

}  // namespace recallbench
