// Floor: forward reads three tensors and writes one, backward reads four and writes three (B = 256,
// L = 256, D = 128: 134 and 235 MB, 32 and 56 us). A thread has the same columns of several rows,
// 16 bytes an access where addresses allow it, and a step's loads are all under way before one is
// used. Backward adds one partial gradient of `skip` a block of rows.
#include <initializer_list>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/skip_gate/skip_gate_cuda.h"

namespace recallbench {
namespace {

constexpr int kLanes = 32;   // threads side by side along the columns, at most
constexpr int kWarps = 8;    // rows that a block works on at a time
constexpr int kForward = 4;  // rows of a thread
constexpr int kBackward = 16;
constexpr int kStep = 2;  // of those at a time

/// `count` rows of a view from `row` on, at a thread's columns.
template <int N, int kVec>
__device__ void load_rows(const Batched<float>& v, Index row, int count, Index col,
                          float (&to)[N][kVec]) {
  const float* from = place_of(v, blockIdx.z, row, col);
#pragma unroll
  for (int i = 0; i < N; ++i, from += kWarps * v.stride)
    if (i < count) load_numbers(from, to[i]);
}
template <int N, int kVec>
__device__ void write_rows(const Gradient<float>& to, Index row, int count, Index col,
                           const float (&from)[N][kVec]) {
  if (!to.wanted) return;
  float* at = place_of(to.view, blockIdx.z, row, col);
#pragma unroll
  for (int i = 0; i < N; ++i, at += kWarps * to.view.stride)
    if (i < count) write_numbers(from[i], to.accumulate, at);
}

/// How many of N rows, kWarps apart, there are from `row` on.
template <int N>
__device__ int rows_from(Index row, Index rows) {
  return row >= rows ? 0 : static_cast<int>(min((rows - row + kWarps - 1) / kWarps, Index{N}));
}

template <int kVec>
__global__ void __launch_bounds__(kLanes* kWarps) forward(SkipGateCuda in, Batched<float> out) {
  after_previous();
  const Index col = (Index{blockIdx.y} * blockDim.x + threadIdx.x) * kVec;
  const Index row = Index{blockIdx.x} * (kWarps * kForward) + threadIdx.y;
  const int count = rows_from<kForward>(row, out.rows);
  if (col >= out.cols || count == 0) return;
  float y[kForward][kVec], x[kForward][kVec], gate[kForward][kVec], skip[kVec];
  load_rows(in.y, row, count, col, y);
  load_rows(in.x, row, count, col, x);
  load_rows(in.gate, row, count, col, gate);
  load_numbers(place_of(in.skip, blockIdx.z, 0, col), skip);
#pragma unroll
  for (int i = 0; i < kForward; ++i) {
    if (i >= count) return;
    float sum[kVec];
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      sum[k] = (y[i][k] + skip[k] * x[i][k]) * gate[i][k];
    store_numbers(sum, place_of(out, blockIdx.z, row + i * kWarps, col));
  }
}

/// A block leaves its share of the gradient of `skip` in parts [R, blocks, D].
template <int kVec>
__global__ void __launch_bounds__(kLanes* kWarps)
    backward(SkipGateCuda in, Batched<float> dout, SkipGateCudaGradients to, float* parts) {
  after_previous();
  __shared__ float shared[kWarps][kLanes * kVec];
  const Index col = (Index{blockIdx.y} * blockDim.x + threadIdx.x) * kVec, cols = dout.cols;
  const Index first = Index{blockIdx.x} * (kWarps * kBackward) + threadIdx.y;
  float skip[kVec] = {}, sums[kVec] = {};
  if (col < cols) load_numbers(place_of(in.skip, blockIdx.z, 0, col), skip);
#pragma unroll 1
  for (int step = 0; step < kBackward; step += kStep) {
    const Index row = first + step * kWarps;
    const int count = col < cols ? rows_from<kStep>(row, dout.rows) : 0;
    if (count == 0) break;
    float y[kStep][kVec], x[kStep][kVec], gate[kStep][kVec], d[kStep][kVec];
    load_rows(dout, row, count, col, d);
    load_rows(in.gate, row, count, col, gate);
    load_rows(in.y, row, count, col, y);
    load_rows(in.x, row, count, col, x);
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const float inner = d[i][k] * gate[i][k];
        if (i < count) sums[k] += inner * x[i][k];
        gate[i][k] = d[i][k] * (y[i][k] + skip[k] * x[i][k]);
        y[i][k] = inner;
        x[i][k] = inner * skip[k];
      }
    }
    write_rows(to.y, row, count, col, y);
    write_rows(to.x, row, count, col, x);
    write_rows(to.gate, row, count, col, gate);
  }
  if (parts == nullptr) return;
#pragma unroll
  for (int k = 0; k < kVec; ++k)
    shared[threadIdx.y][threadIdx.x * kVec + k] = sums[k];
  __syncthreads();
  const int width = static_cast<int>(blockDim.x) * kVec;
  for (int j = threadIdx.y * blockDim.x + threadIdx.x; j < width; j += blockDim.x * kWarps) {
    const Index c = Index{blockIdx.y} * width + j;
    if (c >= cols) continue;
    float sum = shared[0][j];
    for (int w = 1; w < kWarps; ++w)
      sum += shared[w][j];
    parts[(Index{blockIdx.z} * gridDim.x + blockIdx.x) * cols + c] = sum;
  }
}

/// Blocks of kLanes x kWarps threads, of fewer lanes where there are fewer columns.
struct Launch {
  dim3 blocks, threads;
  Launch(const Batched<float>& shape, int vec, int rows_a_thread) {
    unsigned lanes = kLanes;
    while (lanes > 4 && Index{lanes / 2} * vec >= shape.cols)
      lanes /= 2;
    const Index rows = kWarps * rows_a_thread, cols = Index{lanes} * vec;
    threads = dim3(lanes, kWarps);
    blocks = dim3(static_cast<unsigned>((shape.rows + rows - 1) / rows),
                  static_cast<unsigned>((shape.cols + cols - 1) / cols),
                  static_cast<unsigned>(shape.replicas));
  }
};

bool all_in_quads(std::initializer_list<Batched<float>> views) {
  for (const Batched<float>& v : views)
    if (!in_quads(v)) return false;
  return true;
}

Index slices_of(Index rows) {
  return (rows + kWarps * kBackward - 1) / (kWarps * kBackward);
}

}  // namespace

Index skip_gate_cuda_scratch(Index replicas, Index rows, Index cols) {
  return replicas * slices_of(rows) * cols;
}

void skip_gate_forward_cuda(const CudaCall& call, const SkipGateCuda& in,
                            const Batched<float>& out) {
  const bool quads = all_in_quads({in.y, in.x, in.skip, in.gate, out});
  const Launch launch(out, quads ? 4 : 1, kForward);
  const auto kernel = quads ? forward<4> : forward<1>;
  cuda_launch("skip_gate_forward", kernel, {launch.blocks, launch.threads, 0, call.stream}, in,
              out);
}

void skip_gate_backward_cuda(const CudaCall& call, const SkipGateCuda& in,
                             const Batched<float>& dout, const SkipGateCudaGradients& gradients,
                             float* scratch) {
  const bool quads = all_in_quads({in.y, in.x, in.skip, in.gate, dout, gradients.y.view,
                                   gradients.x.view, gradients.gate.view});
  float* parts = gradients.skip.wanted ? scratch : nullptr;
  const Launch launch(dout, quads ? 4 : 1, kBackward);
  const auto kernel = quads ? backward<4> : backward<1>;
  cuda_launch("skip_gate_backward", kernel, {launch.blocks, launch.threads, 0, call.stream}, in,
              dout, gradients, parts);
  sum_partials_cuda(call, dout.replicas,
                    {parts, slices_of(dout.rows), dout.cols, 0, gradients.skip, {}});
}

}  // namespace recallbench
