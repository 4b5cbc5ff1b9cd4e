// Floor of block_rows, with_memory and combine_branches: each number read and written once. At
// B = 256, L = 256, d = 128: 67 MB for keys or values into blocks, 16 us; 168 MB and 302 MB for
// branches into their sum and back, 40 and 72 us. A thread moves four numbers that lie side by side
// where all views allow it.
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "mixers/nsa/sparse_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256;
constexpr int kBranchLanes = 8;                    // of a head of a row in combine_backward
constexpr int kSumColumns = 32, kSumExamples = 8;  // of a block of memory_sums

/// The thread's piece of kVec numbers of a matrix; blockIdx.y is the replica.
template <int kVec>
struct Piece {
  Index row, column;
  bool exists;

  __device__ explicit Piece(const Batched<float>& m) {
    const Index i = blockIdx.x * Index{kThreads} + threadIdx.x, pieces = m.cols / kVec;
    exists = i < m.rows * pieces;
    row = static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(pieces);
    column = (i - row * pieces) * kVec;
  }
};

template <int kVec>
dim3 blocks_of(const char* who, const Batched<float>& m) {
  const Index pieces = m.rows * (m.cols / kVec);
  check(pieces < Index{1} << 31, who, "more numbers than a GPU kernel counts");
  return dim3(static_cast<unsigned>((pieces + kThreads - 1) / kThreads),
              static_cast<unsigned>(m.replicas));
}

template <int kVec>
__global__ void __launch_bounds__(kThreads)
    block_rows(Batched<float> x, int length, Batched<float> places, int block, Batched<float> y) {
  after_previous();
  const Piece<kVec> p(y);
  if (!p.exists) return;
  const Index replica = blockIdx.y;
  const int f = static_cast<int>(places.cols), heads = static_cast<int>(x.cols) / f;
  const int blocks = max(1, length / block), row = static_cast<int>(p.row);
  const int h = row % heads, w = row / heads % blocks, b = row / heads / blocks;
  const int n = static_cast<int>(p.column) / f, j = static_cast<int>(p.column) % f;
  const int t = w * block + n;
  float numbers[kVec] = {}, place[kVec];
  if (t < length)
    load_numbers(place_of(x, replica, Index{b} * length + t, Index{h} * f + j), numbers);
  load_numbers(place_of(places, replica, Index{h} * block + n, j), place);
  for (int i = 0; i < kVec; ++i)
    numbers[i] += place[i];
  store_numbers(numbers, place_of(y, replica, p.row, p.column));
}

template <int kVec>
__global__ void __launch_bounds__(kThreads)
    block_rows_backward(Batched<float> dy, int length, int block, int heads, Gradient<float> dx) {
  after_previous();
  const Piece<kVec> p(dx.view);
  if (!p.exists) return;
  const Index replica = blockIdx.y;
  const int f = static_cast<int>(dy.cols) / block, blocks = max(1, length / block);
  const int row = static_cast<int>(p.row), column = static_cast<int>(p.column);
  const int b = row / length, t = row % length, w = t / block, h = column / f;
  float numbers[kVec] = {};
  if (w < blocks)
    load_numbers(place_of(dy, replica, (Index{b} * blocks + w) * heads + h,
                          Index{t % block} * f + column % f),
                 numbers);
  write_gradient(dx, replica, p.row, p.column, numbers);
}

template <int kVec>
__global__ void __launch_bounds__(kThreads)
    with_memory(Batched<float> x, Batched<float> memory, int rows, Batched<float> y) {
  after_previous();
  const Piece<kVec> p(y);
  if (!p.exists) return;
  const Index replica = blockIdx.y;
  const int f = static_cast<int>(memory.cols), heads = static_cast<int>(x.cols) / f;
  const int kept = static_cast<int>(memory.rows) / heads, column = static_cast<int>(p.column);
  const int b = static_cast<int>(p.row) / rows, i = static_cast<int>(p.row) % rows;
  float numbers[kVec];
  load_numbers(i < kept ? place_of(memory, replica, Index{column / f} * kept + i, column % f)
                        : place_of(x, replica, Index{b} * (rows - kept) + i - kept, column),
               numbers);
  store_numbers(numbers, place_of(y, replica, p.row, p.column));
}

/// dx: the last `blocks` of every `rows` rows of dy.
template <int kVec>
__global__ void __launch_bounds__(kThreads)
    with_memory_backward(Batched<float> dy, int rows, int blocks, Gradient<float> dx) {
  after_previous();
  const Piece<kVec> p(dx.view);
  if (!p.exists) return;
  const int row = static_cast<int>(p.row);
  float numbers[kVec];
  load_numbers(
      place_of(dy, blockIdx.y, Index{row / blocks} * rows + rows - blocks + row % blocks, p.column),
      numbers);
  write_gradient(dx, blockIdx.y, p.row, p.column, numbers);
}

/// dmemory: a thread takes a number of every kSumExamples-th example, and their sums are added in
/// order.
__global__ void __launch_bounds__(kSumColumns* kSumExamples)
    memory_sums(Batched<float> dy, int rows, Gradient<float> dmemory) {
  after_previous();
  __shared__ float sums[kSumExamples][kSumColumns];
  const Index replica = blockIdx.y, examples = dy.rows / rows, f = dmemory.view.cols;
  const Index kept = dmemory.view.rows / (dy.cols / f);
  const Index number = blockIdx.x * Index{kSumColumns} + threadIdx.x;
  const Index row = number / f, column = number % f;
  const bool exists = row < dmemory.view.rows;
  float sum = 0;
#pragma unroll 8
  for (Index b = threadIdx.y; exists && b < examples; b += kSumExamples)
    sum += *place_of(dy, replica, b * rows + row % kept, row / kept * f + column);
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || !exists) return;
  for (int k = 1; k < kSumExamples; ++k)
    sum += sums[k][threadIdx.x];
  write_gradient(dmemory, replica, row, column, sum);
}

template <int kVec>
__global__ void __launch_bounds__(kThreads)
    combine_branches(Batched<float> gates, Branches branches, Batched<float> y) {
  after_previous();
  const Piece<kVec> p(y);
  if (!p.exists) return;
  const Index replica = blockIdx.y;
  const int f = static_cast<int>(y.cols) / (static_cast<int>(gates.cols) / 3);
  const float* gate = place_of(gates, replica, p.row, static_cast<int>(p.column) / f * 3);
  float sum[kVec] = {};
#pragma unroll
  for (int s = 0; s < 3; ++s) {
    float numbers[kVec];
    load_numbers(place_of(branches.of[s], replica, p.row, p.column), numbers);
    for (int i = 0; i < kVec; ++i)
      sum[i] += gate[s] * numbers[i];
  }
  store_numbers(sum, place_of(y, replica, p.row, p.column));
}

/// kBranchLanes neighbouring lanes have a head of a row.
template <int kVec>
__global__ void __launch_bounds__(kThreads)
    combine_backward(Batched<float> gates, Branches branches, Batched<float> dy,
                     Gradient<float> dgates, BranchGradients dbranches) {
  after_previous();
  const std::uint32_t heads = static_cast<std::uint32_t>(gates.cols / 3);
  const std::uint32_t item = (blockIdx.x * kThreads + threadIdx.x) / kBranchLanes;
  const bool exists = item < dy.rows * heads;  // all lanes meet in the sums
  const Index replica = blockIdx.y, row = item / heads, h = item % heads, f = dy.cols / heads;
  float along[3] = {};
  for (Index j = threadIdx.x % kBranchLanes * kVec; exists && j < f; j += kBranchLanes * kVec) {
    float d[kVec];
    load_numbers(place_of(dy, replica, row, h * f + j), d);
#pragma unroll
    for (int s = 0; s < 3; ++s) {
      float numbers[kVec];
      load_numbers(place_of(branches.of[s], replica, row, h * f + j), numbers);
      const float gate = *place_of(gates, replica, row, 3 * h + s);
      for (int i = 0; i < kVec; ++i) {
        along[s] += d[i] * numbers[i];
        numbers[i] = gate * d[i];
      }
      write_gradient(dbranches.of[s], replica, row, h * f + j, numbers);
    }
  }
#pragma unroll
  for (int s = 0; s < 3; ++s) {
    float sum[1] = {warp_sum<kBranchLanes>(along[s])};
    if (exists && dgates.wanted && threadIdx.x % kBranchLanes == 0)
      write_gradient(dgates, replica, row, 3 * h + s, sum);
  }
}

}  // namespace

void block_rows_cuda(const CudaCall& call, const Batched<float>& x, Index length,
                     const Batched<float>& places, Index block, const Batched<float>& y) {
  const int l = static_cast<int>(length), c = static_cast<int>(block);
  if (in_quads(x) && in_quads(places) && in_quads(y))
    cuda_launch("block_rows", block_rows<4>,
                {blocks_of<4>("block_rows", y), kThreads, 0, call.stream}, x, l, places, c, y);
  else
    cuda_launch("block_rows", block_rows<1>,
                {blocks_of<1>("block_rows", y), kThreads, 0, call.stream}, x, l, places, c, y);
}

Index block_rows_scratch(Index replicas, Index rows, Index cols) {
  return column_sums_scratch(replicas, rows, cols);
}

void block_rows_backward_cuda(const CudaCall& call, const Batched<float>& dy, Index length,
                              Index block, Index heads, const Gradient<float>& dx,
                              const Gradient<float>& dplaces, float* scratch) {
  if (dx.wanted) {
    const int l = static_cast<int>(length), c = static_cast<int>(block);
    const int h = static_cast<int>(heads);
    if (in_quads(dy) && in_quads(dx.view) && dy.cols / block % 4 == 0)
      cuda_launch("block_rows_backward", block_rows_backward<4>,
                  {blocks_of<4>("block_rows", dx.view), kThreads, 0, call.stream}, dy, l, c, h, dx);
    else
      cuda_launch("block_rows_backward", block_rows_backward<1>,
                  {blocks_of<1>("block_rows", dx.view), kThreads, 0, call.stream}, dy, l, c, h, dx);
  }
  // A block's rows, head after head, are what its places add to: those of dy lie side by side.
  Batched<float> blocks = dy;
  blocks.rows /= heads;
  blocks.cols *= heads;
  blocks.stride *= heads;
  column_sums_cuda(call, blocks, dplaces, scratch);
}

void with_memory_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& memory,
                      Index rows, const Batched<float>& y) {
  const int n = static_cast<int>(rows);
  if (in_quads(x) && in_quads(memory) && in_quads(y))
    cuda_launch("with_memory", with_memory<4>,
                {blocks_of<4>("with_memory", y), kThreads, 0, call.stream}, x, memory, n, y);
  else
    cuda_launch("with_memory", with_memory<1>,
                {blocks_of<1>("with_memory", y), kThreads, 0, call.stream}, x, memory, n, y);
}

void with_memory_backward_cuda(const CudaCall& call, const Batched<float>& dy, Index rows,
                               const Gradient<float>& dx, const Gradient<float>& dmemory) {
  const int n = static_cast<int>(rows);
  if (dx.wanted) {
    const int blocks = static_cast<int>(dx.view.rows / (dy.rows / rows));
    if (in_quads(dy) && in_quads(dx.view))
      cuda_launch("with_memory_backward", with_memory_backward<4>,
                  {blocks_of<4>("with_memory", dx.view), kThreads, 0, call.stream}, dy, n, blocks,
                  dx);
    else
      cuda_launch("with_memory_backward", with_memory_backward<1>,
                  {blocks_of<1>("with_memory", dx.view), kThreads, 0, call.stream}, dy, n, blocks,
                  dx);
  }
  if (!dmemory.wanted) return;
  const Index numbers = dmemory.view.rows * dmemory.view.cols;
  const dim3 sums(static_cast<unsigned>((numbers + kSumColumns - 1) / kSumColumns),
                  static_cast<unsigned>(dmemory.view.replicas));
  cuda_launch("memory_sums", memory_sums, {sums, dim3(kSumColumns, kSumExamples), 0, call.stream},
              dy, n, dmemory);
}

void combine_branches_cuda(const CudaCall& call, const Batched<float>& gates,
                           const Branches& branches, const Batched<float>& y) {
  bool quads = in_quads(y) && y.cols / (gates.cols / 3) % 4 == 0;
  for (const Batched<float>& branch : branches.of)
    quads = quads && in_quads(branch);
  if (quads)
    cuda_launch("combine_branches", combine_branches<4>,
                {blocks_of<4>("combine_branches", y), kThreads, 0, call.stream}, gates, branches,
                y);
  else
    cuda_launch("combine_branches", combine_branches<1>,
                {blocks_of<1>("combine_branches", y), kThreads, 0, call.stream}, gates, branches,
                y);
}

void combine_branches_backward_cuda(const CudaCall& call, const Batched<float>& gates,
                                    const Branches& branches, const Batched<float>& dy,
                                    const Gradient<float>& dgates,
                                    const BranchGradients& dbranches) {
  const Index heads = gates.cols / 3, lanes = dy.rows * heads * kBranchLanes;
  check(lanes < Index{1} << 31, "combine_branches", "more rows than a GPU kernel counts");
  bool wanted = dgates.wanted, quads = in_quads(dy) && dy.cols / heads % 4 == 0;
  for (int s = 0; s < 3; ++s) {
    wanted = wanted || dbranches.of[s].wanted;
    quads = quads && in_quads(branches.of[s]) && in_quads(dbranches.of[s].view);
  }
  if (!wanted) return;
  const dim3 blocks(static_cast<unsigned>((lanes + kThreads - 1) / kThreads),
                    static_cast<unsigned>(dy.replicas));
  const auto kernel = quads ? combine_backward<4> : combine_backward<1>;
  cuda_launch("combine_branches_backward", kernel, {blocks, kThreads, 0, call.stream}, gates,
              branches, dy, dgates, dbranches);
}

}  // namespace recallbench
