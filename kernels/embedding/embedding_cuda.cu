// Floor: forward writes y (the table stays in L2), backward reads dy (B = 256, L = 256, D = 128:
// 34 MB each, 8 us) and writes the rows of the tokens that occur.
//
// Backward has no atomics, though one token (a filler) may own most rows: the rows are sorted by
// token, stably, so that a token's rows are a run in the order of the batch. Sorted rows are cut
// into chunks of 32, a warp each. The warp in whose chunk a run begins adds all of it, if it ends
// in the next chunk at the latest; a longer run leaves one partial sum a chunk, and a second, small
// launch adds these. A replica's chunks begin at its own first row, so R changes no sum.
#include <algorithm>
#include <bit>
#include <cub/device/device_radix_sort.cuh>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/set_numbers.h"
#include "kernels/embedding/embedding_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr Index kChunk = 32;  // sorted rows of a warp: one a lane
constexpr int kAhead = 8;     // rows whose loads are in flight together

/// A row of the batch under its token: sorted by the upper half, (replica · V + token).
using Key = std::uint64_t;
constexpr int kTokenBit = 32;

__device__ std::uint32_t token_of(Key key) {
  return static_cast<std::uint32_t>(key >> kTokenBit);
}
__device__ std::uint32_t row_of(Key key) {
  return static_cast<std::uint32_t>(key);
}

template <int kVec>
__global__ void look_up(const std::int32_t* tokens, Batched<float> table, Batched<float> y,
                        std::uint32_t per_row, std::uint32_t count) {
  after_previous();
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const Index replica = blockIdx.y, row = i / per_row, col = Index{i % per_row} * kVec;
  const Index token = tokens[replica * y.rows + row];
  float numbers[kVec];
  load_numbers(table.data + replica * table.replica_stride + token * table.stride + col, numbers);
  store_numbers(numbers, y.data + replica * y.replica_stride + row * y.stride + col);
}

__global__ void make_keys(const std::int32_t* tokens, Index rows, Index vocab, Key* keys) {
  after_previous();
  const Index i = blockIdx.x * Index{kThreads} + threadIdx.x, replica = blockIdx.y;
  if (i >= rows) return;
  const Key token = static_cast<Key>(replica * vocab + tokens[replica * rows + i]);
  keys[replica * rows + i] = token << kTokenBit | static_cast<Key>(i);
}

/// Where sums go: to the table's gradient, or to the partial sums of a chunk, [R, chunks, 2, D]:
/// of the long run that began before the chunk (0), and of the one that begins in it (1).
template <int kVec>
struct Sums {
  Gradient<float> dtable;
  float* parts;
  Index chunks;

  __device__ float* part(Index replica, Index chunk, int which, Index col) const {
    return parts + ((replica * chunks + chunk) * 2 + which) * dtable.view.cols + col;
  }
  __device__ void add_to_table(Index replica, Index token, Index col,
                               const float (&sum)[kVec]) const {
    write_numbers(sum, dtable.accumulate, place_of(dtable.view, replica, token, col));
  }
};

/// The runs of one chunk as every lane of its warp sees them; positions count from the chunk's
/// first row, up to 64: the chunk and the next.
struct ChunkRuns {
  Key key0, key1;        // of the lane's row here and in the next chunk
  bool head, long_head;  // a run began before; and is long, so that its part here is a partial sum
  bool long_tail;        // a long run begins here
  int begin, end;        // rows to add

  __device__ Key key(int position) const {
    const Key here = __shfl_sync(0xffffffffu, key0, position % 32);
    const Key there = __shfl_sync(0xffffffffu, key1, position % 32);
    return position < 32 ? here : there;
  }

  __device__ ChunkRuns(const Key* keys, Index rows, Index first) {
    constexpr unsigned kAll = 0xffffffffu;
    const int lane = threadIdx.x % 32;
    const int here = static_cast<int>(min(kChunk, rows - first));
    const bool in0 = lane < here, in1 = first + kChunk + lane < rows;
    key0 = in0 ? keys[first + lane] : 0;
    key1 = in1 ? keys[first + kChunk + lane] : 0;
    const std::uint32_t token0 = __shfl_sync(kAll, token_of(key0), 0);
    const std::uint32_t last = __shfl_sync(kAll, token_of(key0), here - 1);
    head = first > 0 && token_of(keys[first - 1]) == token0;
    // Rows with the first row's token, and rows of the next chunk with the last row's.
    const int leading = __popc(__ballot_sync(kAll, in0 && token_of(key0) == token0));
    const int following = __popc(__ballot_sync(kAll, in1 && token_of(key1) == last));
    const bool whole = leading == kChunk;
    long_head = head && (whole || (first > kChunk && token_of(keys[first - kChunk - 1]) == token0));
    long_tail = following == kChunk && !(head && whole);
    begin = head && !long_head ? leading : 0;
    // The end of a run that began before, whole chunks ago, is the next chunk's to add.
    end = here + (long_tail || (head && leading == here) ? 0 : following);
  }
};

template <int kVec>
__global__ void __launch_bounds__(kThreads)
    add_runs(const Key* keys, Index rows, Index vocab, Batched<float> dy, Sums<kVec> sums) {
  after_previous();
  const Index chunk = blockIdx.x * Index{kWarps} + threadIdx.x / 32, replica = blockIdx.y;
  if (chunk >= sums.chunks) return;  // a whole warp
  const Index col = (blockIdx.z * Index{32} + threadIdx.x % 32) * kVec;
  const bool inside = col < dy.cols;
  const ChunkRuns runs(keys + replica * rows, rows, chunk * kChunk);
  const float* from = dy.data + replica * dy.replica_stride + col;
  const std::uint32_t first_token = static_cast<std::uint32_t>(replica * vocab);
  float sum[kVec] = {};
  std::uint32_t token = token_of(runs.key(runs.begin % 64));
  bool of_head = runs.head && runs.begin == 0;  // the sum is that of the run that began before
  const auto finish = [&](bool last) {
    if (!inside) return;
    if (of_head)
      store_numbers(sum, sums.part(replica, chunk, 0, col));
    else if (last && runs.long_tail)
      store_numbers(sum, sums.part(replica, chunk, 1, col));
    else
      sums.add_to_table(replica, token - first_token, col, sum);
  };
  for (int i = runs.begin; i < runs.end; i += kAhead) {
    float numbers[kAhead][kVec];
    std::uint32_t tokens[kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      const Key key = runs.key((i + u) % 64);
      tokens[u] = token_of(key);
      if (inside && i + u < runs.end)
        load_numbers(from + Index{row_of(key)} * dy.stride, numbers[u]);
    }
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      if (i + u >= runs.end) break;
      if (tokens[u] != token) {
        finish(false);
        token = tokens[u];
        of_head = false;
#pragma unroll
        for (int k = 0; k < kVec; ++k)
          sum[k] = 0;
      }
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        sum[k] += numbers[u][k];
    }
  }
  if (runs.begin < runs.end) finish(true);
}

constexpr int kLanes = 32;  // partial sums that are read side by side

/// Long runs: a block looks at 32 chunks, and adds up each that begins there, 32 columns of it. A
/// lane takes every 32nd partial sum, then the lanes are added in order.
__global__ void __launch_bounds__(32 * kLanes)
    add_long_runs(const Key* all_keys, Index rows, Index vocab, Sums<1> sums) {
  after_previous();
  __shared__ float lanes[kLanes][33];
  const Index replica = blockIdx.y, first_chunk = blockIdx.x * Index{32};
  const int column = threadIdx.x, lane = threadIdx.y;
  const Index col = blockIdx.z * Index{32} + column;
  const bool inside = col < sums.dtable.view.cols;
  const Key* keys = all_keys + replica * rows;
  const auto token_at = [&](Index position) { return token_of(keys[position]); };
  const Index candidate = first_chunk + column, begin = candidate * kChunk;
  bool starts = begin + 2 * kChunk <= rows;
  if (starts) {
    const std::uint32_t token = token_at(begin + kChunk - 1);
    starts =
        token_at(begin + 2 * kChunk - 1) == token && (begin == 0 || token_at(begin - 1) != token);
  }
  unsigned found = __ballot_sync(0xffffffffu, starts);  // the same in every warp
  for (; found != 0; found &= found - 1) {
    const Index chunk = first_chunk + __ffs(static_cast<int>(found)) - 1;
    const std::uint32_t token = token_at(chunk * kChunk + kChunk - 1);
    Index count = 0;  // chunks that the run goes on in
    for (int more = 32 * kLanes; more == 32 * kLanes; count += more) {
      const Index position = (chunk + 1 + count + lane * 32 + column) * kChunk;
      more = __syncthreads_count(position < rows && token_at(position) == token);
    }
    float sum = 0;
    if (inside) {
#pragma unroll 8
      for (Index i = lane; i < count; i += kLanes)
        sum += *sums.part(replica, chunk + 1 + i, 0, col);
    }
    lanes[lane][column] = sum;
    __syncthreads();
    if (lane == 0 && inside) {
      float total[1] = {*sums.part(replica, chunk, 1, col)};
      for (int k = 0; k < kLanes; ++k)
        total[0] += lanes[k][column];
      sums.add_to_table(replica, token - replica * vocab, col, total);
    }
    __syncthreads();  // before `lanes` is used again
  }
}

template <int kVec>
__global__ void add_table_rows(Batched<float> x, Batched<float> table, Batched<float> y,
                               std::uint32_t length, std::uint32_t per_row, std::uint32_t count) {
  after_previous();
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const std::uint32_t row = i / per_row;
  const Index replica = blockIdx.y, col = Index{i % per_row} * kVec;
  float a[kVec], b[kVec];
  load_numbers(x.data + replica * x.replica_stride + row * x.stride + col, a);
  load_numbers(table.data + replica * table.replica_stride + row % length * table.stride + col, b);
#pragma unroll
  for (int k = 0; k < kVec; ++k)
    a[k] += b[k];
  store_numbers(a, y.data + replica * y.replica_stride + row * y.stride + col);
}

constexpr int kExamples = 8;  // lanes of a block: every 8th example each

/// 32 columns of the gradient of position blockIdx.y; blockIdx.z is the replica.
__global__ void add_examples(Batched<float> dy, Index length, Gradient<float> dtable) {
  after_previous();
  __shared__ float lanes[kExamples][32];
  const Index replica = blockIdx.z, t = blockIdx.y, col = blockIdx.x * Index{32} + threadIdx.x;
  const int lane = threadIdx.y;
  const float* from = dy.data + replica * dy.replica_stride + col;
  float sum = 0;
  if (t < length && col < dy.cols) {
#pragma unroll 4
    for (Index row = lane * length + t; row < dy.rows; row += kExamples * length)
      sum += from[row * dy.stride];
  }
  lanes[lane][threadIdx.x] = sum;
  __syncthreads();
  if (lane != 0 || col >= dy.cols) return;
  for (int k = 1; k < kExamples; ++k)
    sum += lanes[k][threadIdx.x];
  float* place = dtable.view.data + replica * dtable.view.replica_stride + t * dtable.view.stride;
  place[col] = dtable.accumulate ? place[col] + sum : sum;
}

unsigned pieces(Index count, Index size) {
  return static_cast<unsigned>((count + size - 1) / size);
}

/// Bits of the largest (replica · V + token).
int token_bits(Index replicas, Index vocab) {
  return std::max(1, static_cast<int>(std::bit_width(static_cast<Key>(replicas * vocab - 1))));
}

std::size_t sort_bytes(Index count, int bits) {
  std::size_t bytes = 0;
  cuda_check(cub::DeviceRadixSort::SortKeys(nullptr, bytes, static_cast<const Key*>(nullptr),
                                            static_cast<Key*>(nullptr), static_cast<int>(count),
                                            kTokenBit, kTokenBit + bits),
             "cub::DeviceRadixSort");
  return bytes;
}

Index rounded(Index numbers) {  // to 256 bytes
  return (numbers + 63) / 64 * 64;
}

}  // namespace

void embedding_cuda(const CudaCall& call, const std::int32_t* tokens, const Batched<float>& table,
                    const Batched<float>& y) {
  const bool quads = in_quads(table) && in_quads(y);
  const Index per_row = quads ? y.cols / 4 : y.cols, count = y.rows * per_row;
  check(count < Index{1} << 31, "embedding", "more numbers than a GPU kernel counts");
  const auto kernel = quads ? look_up<4> : look_up<1>;
  cuda_launch(
      "embedding", kernel,
      {dim3(pieces(count, kThreads), static_cast<unsigned>(y.replicas)), kThreads, 0, call.stream},
      tokens, table, y, static_cast<std::uint32_t>(per_row), static_cast<std::uint32_t>(count));
}

Index token_sort_cuda_numbers(Index replicas, Index rows, Index vocab) {
  const Index count = replicas * rows;
  const auto sort = static_cast<Index>(sort_bytes(count, token_bits(replicas, vocab)));
  return 2 * rounded(2 * count) + rounded(sort / 4 + 1);
}

void sort_tokens_cuda(const CudaCall& call, const std::int32_t* tokens, Index replicas, Index rows,
                      Index vocab, float* memory) {
  const Index count = replicas * rows;
  check(count < Index{1} << 31 && replicas * vocab < Index{1} << 31, "embedding",
        "more tokens than a GPU kernel counts");
  Key* keys = reinterpret_cast<Key*>(memory);  // sorted
  Key* unsorted = reinterpret_cast<Key*>(memory + rounded(2 * count));
  float* sort_memory = memory + 2 * rounded(2 * count);
  const int bits = token_bits(replicas, vocab);
  std::size_t bytes = sort_bytes(count, bits);
  cuda_launch(
      "embedding_keys", make_keys,
      {dim3(pieces(rows, kThreads), static_cast<unsigned>(replicas)), kThreads, 0, call.stream},
      tokens, rows, vocab, unsorted);
  cuda_check(
      cub::DeviceRadixSort::SortKeys(sort_memory, bytes, unsorted, keys, static_cast<int>(count),
                                     kTokenBit, kTokenBit + bits, call.stream),
      "cub::DeviceRadixSort");
}

Index embedding_cuda_scratch(Index replicas, Index rows, Index cols) {
  return replicas * pieces(rows, kChunk) * 2 * cols;
}

void embedding_backward_cuda(const CudaCall& call, const float* sorted, const Batched<float>& dy,
                             const Gradient<float>& dtable, float* scratch) {
  if (!dtable.wanted) return;
  const Batched<float>& to = dtable.view;
  const Index rows = dy.rows, vocab = to.rows;
  const auto replicas = static_cast<unsigned>(dy.replicas);
  if (!dtable.accumulate) cuda_set_numbers(call.stream, to, 0);
  const Key* keys = reinterpret_cast<const Key*>(sorted);
  const Index chunks = pieces(rows, kChunk);
  const auto add = [&](auto kernel, auto sums, int vec) {
    cuda_launch("embedding_backward", kernel,
                {dim3(pieces(chunks, kWarps), replicas, pieces(dy.cols, 32 * vec)), kThreads, 0,
                 call.stream},
                keys, rows, vocab, dy, sums);
  };
  if (!in_quads(dy) || !in_quads(to))
    add(add_runs<1>, Sums<1>{dtable, scratch, chunks}, 1);
  else if (dy.cols <= 64)
    add(add_runs<2>, Sums<2>{dtable, scratch, chunks}, 2);
  else
    add(add_runs<4>, Sums<4>{dtable, scratch, chunks}, 4);
  cuda_launch(
      "embedding_long_runs", add_long_runs,
      {dim3(pieces(chunks, 32), replicas, pieces(dy.cols, 32)), dim3(32, kLanes), 0, call.stream},
      keys, rows, vocab, Sums<1>{dtable, scratch, chunks});
}

void add_positions_cuda(const CudaCall& call, Index length, const Batched<float>& x,
                        const Batched<float>& table, const Batched<float>& y) {
  const bool quads = in_quads(x) && in_quads(table) && in_quads(y);
  const Index per_row = quads ? y.cols / 4 : y.cols, count = y.rows * per_row;
  check(count < Index{1} << 31, "add_positions", "more numbers than a GPU kernel counts");
  const auto kernel = quads ? add_table_rows<4> : add_table_rows<1>;
  cuda_launch(
      "add_positions", kernel,
      {dim3(pieces(count, kThreads), static_cast<unsigned>(y.replicas)), kThreads, 0, call.stream},
      x, table, y, static_cast<std::uint32_t>(length), static_cast<std::uint32_t>(per_row),
      static_cast<std::uint32_t>(count));
}

void add_positions_table_backward_cuda(const CudaCall& call, Index length, const Batched<float>& dy,
                                       const Gradient<float>& dtable) {
  if (!dtable.wanted) return;
  const Index positions = dtable.accumulate ? length : dtable.view.rows;
  check(positions <= 65535, "add_positions", "more positions than a GPU's grid has");
  cuda_launch("add_positions_backward", add_examples,
              {dim3(pieces(dy.cols, 32), static_cast<unsigned>(positions),
                    static_cast<unsigned>(dy.replicas)),
               dim3(32, kExamples), 0, call.stream},
              dy, length, dtable);
}

}  // namespace recallbench
