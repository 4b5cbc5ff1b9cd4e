// Floor: x and dy read once (four replicas, n = 65536, in = 128, out = 384: 537 MB, 128 us; the
// products take about 100). cuBLAS reads dy, the long side of a narrow product, at half that rate,
// takes a launch a replica, and leaves dbias to another pass.
//
// A block has a tile of dweight in its registers and walks the rows of its slice, 16 at a time,
// which cp.async brings three steps ahead. In shared memory rows are padded so that the lanes of a
// fragment, 4 or 8 rows apart and 8 columns wide, read 32 different banks. Slices are many, so that
// a lone replica fills the GPU, and their sums go through scratch.
#include <cuda_pipeline_primitives.h>

#include <algorithm>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/matmul/weight_gradient_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256;
constexpr int kStep = 16;             // rows that a block multiplies at a time
constexpr int kStages = 4;            // steps that have room in shared memory
constexpr Index kBlocks = 132;        // wanted of a replica: one for each multiprocessor
constexpr Index kShortestSlice = 64;  // rows

/// kOut x kIn of dweight for a block; of it a warp, one of 2 x 4, has kTall x kWide fragments.
template <Precision kPrecision, int kOutColumns, int kInColumns>
struct Tile {
  static constexpr bool kBf16 = kPrecision == Precision::bf16;
  static constexpr int kOut = kOutColumns, kIn = kInColumns;
  static constexpr int kTall = kOut / 2 / 16, kWide = kIn / 4 / 8;
  static constexpr int kPad = kBf16 ? 4 : 8;
  static constexpr int kOutStride = kOut + kPad, kInStride = kIn + kPad;
  static constexpr int kStage = kStep * (kOutStride + kInStride);  // numbers
  static constexpr std::size_t kBytes = kStages * kStage * sizeof(float);
};

struct Slices {
  Index rows_each, count;
};

Slices slices_of(Index rows, Index out, Index in) {
  const auto tiles_of = [](Index cols) { return cols <= 64 ? 1 : (cols + 127) / 128; };
  const Index wanted = std::max<Index>(1, kBlocks / (tiles_of(out) * tiles_of(in)));
  const Index each = std::max(kShortestSlice, (rows + wanted - 1) / wanted);
  const Index rounded = (each + kStep - 1) / kStep * kStep;
  return {rounded, (rows + rounded - 1) / rounded};
}

/// What a kernel needs: parts [R, slices, out in (+ out)].
struct WeightGradient {
  Batched<float> x, dy;
  Slices slices;
  Index out_tiles;
  float* parts;
  bool bias;

  __host__ __device__ Index part_numbers() const { return dy.cols * (x.cols + (bias ? 1 : 0)); }
};

/// Begins the copies of kStep rows from `row` on, columns first ... first + kColumns; zeros past
/// `last` and past the matrix.
template <int kColumns, int kStride>
__device__ void copy_rows(const Batched<float>& from, Index replica, Index row, Index last,
                          Index first, float* to) {
  const float* matrix = from.data + replica * from.replica_stride;
#pragma unroll
  for (int i = threadIdx.x; i < kStep * kColumns / 4; i += kThreads) {
    const int r = i / (kColumns / 4), c = i % (kColumns / 4) * 4;
    const bool inside = row + r < last && first + c < from.cols;
    __pipeline_memcpy_async(to + r * kStride + c,
                            inside ? matrix + (row + r) * from.stride + first + c : matrix, 16,
                            inside ? 0 : 16);
  }
}

/// Fragment [16, k] of dyᵀ and [k, 8] of x for rows k0 ... of a step (k = 8 in tf32, 16 in bf16).
template <class T>
__device__ void load_a(const float* dy, int k0, int column, std::uint32_t (&a)[4]) {
  const int g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int m = column + g + i % 2 * 8;
    if constexpr (T::kBf16) {
      const float* at = dy + (k0 + 2 * t + i / 2 * 8) * T::kOutStride + m;
      a[i] = bf16_bits(at[0], at[T::kOutStride]);
    } else {
      a[i] = tf32_bits(dy[(k0 + t + i / 2 * 4) * T::kOutStride + m]);
    }
  }
}
template <class T>
__device__ void load_b(const float* x, int k0, int column, std::uint32_t (&b)[2]) {
  const int g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if constexpr (T::kBf16) {
      const float* at = x + (k0 + 2 * t + i * 8) * T::kInStride + column + g;
      b[i] = bf16_bits(at[0], at[T::kInStride]);
    } else {
      b[i] = tf32_bits(x[(k0 + t + i * 4) * T::kInStride + column + g]);
    }
  }
}

/// Σ of a tile's columns of dy over the rows of a slice: thread i has column i mod kOut and every
/// (kThreads / kOut)-th row.
template <class T>
struct ColumnSum {
  static constexpr int kGroups = kThreads / T::kOut;
  float sum = 0;

  __device__ void add_step(const float* dy) {
    const int column = threadIdx.x % T::kOut, group = threadIdx.x / T::kOut;
#pragma unroll
    for (int r = group; r < kStep; r += kGroups)
      sum += dy[r * T::kOutStride + column];
  }
  /// Groups in order; `shared` holds kThreads numbers.
  __device__ void store(float* shared, Index columns, float* to) const {
    __syncthreads();
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= T::kOut || threadIdx.x >= columns) return;
    float total = shared[threadIdx.x];
    for (int k = 1; k < kGroups; ++k)
      total += shared[k * T::kOut + threadIdx.x];
    to[threadIdx.x] = total;
  }
};

/// blockIdx: tile, slice, replica.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) multiply_slices(WeightGradient w) {
  extern __shared__ float4 stages[];
  float* const shared = reinterpret_cast<float*>(stages);
  const Index out0 = blockIdx.x % w.out_tiles * T::kOut, in0 = blockIdx.x / w.out_tiles * T::kIn;
  const Index replica = blockIdx.z, first = blockIdx.y * w.slices.rows_each;
  const Index last = min(first + w.slices.rows_each, w.x.rows);
  const int steps = static_cast<int>((last - first + kStep - 1) / kStep);
  const int warp = threadIdx.x / 32, tall0 = warp % 2 * (T::kOut / 2),
            wide0 = warp / 2 * (T::kIn / 4);
  const bool sums = w.bias && in0 == 0;
  float product[T::kTall][T::kWide][4] = {};
  ColumnSum<T> column_sum;
  const auto fetch = [&](int step) {
    if (step < steps) {
      float* to = shared + step % kStages * T::kStage;
      const Index row = first + Index{step} * kStep;
      copy_rows<T::kOut, T::kOutStride>(w.dy, replica, row, last, out0, to);
      copy_rows<T::kIn, T::kInStride>(w.x, replica, row, last, in0, to + kStep * T::kOutStride);
    }
    __pipeline_commit();
  };
  for (int step = 0; step < kStages - 1; ++step)
    fetch(step);
  for (int step = 0; step < steps; ++step) {
    __pipeline_wait_prior(kStages - 2);
    __syncthreads();  // the step has come, and the one before it is used up
    fetch(step + kStages - 1);
    const float* dy = shared + step % kStages * T::kStage;
    const float* x = dy + kStep * T::kOutStride;
    if (sums) column_sum.add_step(dy);
#pragma unroll
    for (int k0 = 0; k0 < kStep; k0 += T::kBf16 ? 16 : 8) {
      std::uint32_t a[T::kTall][4], b[T::kWide][2];
#pragma unroll
      for (int m = 0; m < T::kTall; ++m)
        load_a<T>(dy, k0, tall0 + m * 16, a[m]);
#pragma unroll
      for (int n = 0; n < T::kWide; ++n)
        load_b<T>(x, k0, wide0 + n * 8, b[n]);
#pragma unroll
      for (int m = 0; m < T::kTall; ++m)
#pragma unroll
        for (int n = 0; n < T::kWide; ++n)
          if constexpr (T::kBf16)
            mma_bf16(product[m][n], a[m], b[n]);
          else
            mma_tf32(product[m][n], a[m], b[n]);
    }
  }
  float* part = w.parts + (replica * w.slices.count + blockIdx.y) * w.part_numbers();
  const int g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int m = 0; m < T::kTall; ++m)
#pragma unroll
    for (int n = 0; n < T::kWide; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const Index row = out0 + tall0 + m * 16 + g + half * 8, col = in0 + wide0 + n * 8 + 2 * t;
        const float pair[2] = {product[m][n][2 * half], product[m][n][2 * half + 1]};
        if (row < w.dy.cols && col < w.x.cols) store_numbers(pair, part + row * w.x.cols + col);
      }
  __pipeline_wait_prior(0);
  if (sums) column_sum.store(shared, w.dy.cols - out0, part + w.dy.cols * w.x.cols + out0);
}

template <class T>
void launch(const CudaCall& call, WeightGradient w) {
  w.out_tiles = (w.dy.cols + T::kOut - 1) / T::kOut;
  const Index tiles = w.out_tiles * ((w.x.cols + T::kIn - 1) / T::kIn);
  const auto kernel = multiply_slices<T>;
  cuda_allow_shared(kernel, T::kBytes, "weight_gradient");
  const dim3 blocks(static_cast<unsigned>(tiles), static_cast<unsigned>(w.slices.count),
                    static_cast<unsigned>(w.x.replicas));
  kernel<<<blocks, kThreads, T::kBytes, call.stream>>>(w);
  cuda_check_launch("weight_gradient");
}

template <Precision kPrecision>
void launch(const CudaCall& call, const WeightGradient& w) {
  if (w.dy.cols <= 64 && w.x.cols <= 64) return launch<Tile<kPrecision, 64, 64>>(call, w);
  if (w.dy.cols <= 64) return launch<Tile<kPrecision, 64, 128>>(call, w);
  if (w.x.cols <= 64) return launch<Tile<kPrecision, 128, 64>>(call, w);
  launch<Tile<kPrecision, 128, 128>>(call, w);
}

}  // namespace

bool weight_gradient_fits(const CudaCall& call, const Batched<float>& x, const Batched<float>& dy) {
  return call.precision != Precision::fp32 && in_quads(x) && in_quads(dy);
}

Index weight_gradient_scratch(Index replicas, Index rows, Index out, Index in) {
  return replicas * slices_of(rows, out, in).count * out * (in + 1);
}

void weight_gradient_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& dy,
                          const Gradient<float>& dweight, const Gradient<float>& dbias,
                          float* scratch) {
  const WeightGradient w{x, dy, slices_of(x.rows, dy.cols, x.cols), 0, scratch, dbias.wanted};
  if (call.precision == Precision::bf16)
    launch<Precision::bf16>(call, w);
  else
    launch<Precision::tf32>(call, w);
  sum_partials_cuda(
      call, x.replicas,
      {scratch, w.slices.count, dy.cols * x.cols, w.bias ? dy.cols : 0, dweight, dbias});
}

}  // namespace recallbench
