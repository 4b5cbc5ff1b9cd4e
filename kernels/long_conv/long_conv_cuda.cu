// The direct form, in exact float32 products. Floor: L (L + 1) B D FLOPs forward and twice that
// backward, 1.1 GFLOP or 18 us at B = 256, L = 256, D = 64 and 60 TFLOP/s; u, y and the filter move
// once (8 us). A thread holds 8 sums of one channel and takes 8 numbers and 15 taps, which L1 gives
// it, for 64 products.
#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/set_numbers.h"
#include "kernels/cuda/shared_memory.h"
#include "kernels/long_conv/long_conv_cuda.h"

namespace recallbench {
namespace {

constexpr int kLanes = 32;  // channels side by side
constexpr int kWarps = 8;   // tiles of a block
constexpr int kTile = 8;    // sums of a thread
// Examples that one partial filter gradient sums over, and on tensor cores.
constexpr Index kExampleBlock = 16, kTensorExampleBlock = 32;

__host__ __device__ Index ceil_div(Index a, Index b) {
  return (a + b - 1) / b;
}

/// A channel of one example: zero outside the sequence.
struct Sequence {
  const float* data;
  Index stride, length;

  __device__ Sequence(const Batched<float>& m, const LongConvSize& s, Index example, Index channel)
      : data(m.data + blockIdx.z * m.replica_stride + example * s.length * m.stride + channel),
        stride(m.stride),
        length(s.length) {}
  __device__ bool has(Index first, Index count) const {
    return first >= 0 && first + count <= length;
  }
  __device__ float operator()(Index t) const {
    return t >= 0 && t < length ? data[t * stride] : 0.0f;
  }
};

/// The filter of one channel by the distance that a tap brings a number: ahead it wraps around.
struct Taps {
  const float* data;
  Index stride, taps, length;

  __device__ Taps(const Batched<float>& m, const LongConvSize& s, Index channel)
      : data(m.data + blockIdx.z * m.replica_stride + channel),
        stride(m.stride),
        taps(s.taps),
        length(s.length) {}
  __device__ bool has(Index first, Index count) const {
    return first >= 0 && first + count <= taps;
  }
  __device__ float operator()(Index distance) const {
    const Index tap = distance >= 0 ? distance : distance + 2 * length;
    return distance > -length && tap < taps ? data[tap * stride] : 0.0f;
  }
};

/// to[k] = from(first + k); without a check for each where all of them lie inside.
template <int N, class From>
__device__ void load(const From& from, Index first, float (&to)[N]) {
  if (from.has(first, N)) {
    const float* data = from.data + first * from.stride;
    const int stride = static_cast<int>(from.stride);
#pragma unroll
    for (int k = 0; k < N; ++k)
      to[k] = data[k * stride];
    return;
  }
#pragma unroll
  for (int k = 0; k < N; ++k)
    to[k] = from(first + k);
}

/// sums[i] += Σ_j values(from + j) · window(d), d = (to + i) - (from + j), or with kReversed -d.
template <bool kReversed, class Window>
__device__ void add_tile(const Sequence& values, const Window& window, Index from, Index to,
                         float (&sums)[kTile]) {
  float v[kTile], w[2 * kTile - 1];
  const Index lowest = (kReversed ? from - to : to - from) - (kTile - 1);
  load(values, from, v);
  load(window, lowest, w);
#pragma unroll
  for (int j = 0; j < kTile; ++j)
#pragma unroll
    for (int i = 0; i < kTile; ++i)
      sums[i] += v[j] * w[(kReversed ? j - i : i - j) + kTile - 1];
}

/// What a warp works on: a tile of an example (or of a block of them), and a channel a lane.
struct Place {
  Index tile, item, channel;
  bool used;

  __device__ Place(Index tiles, Index items, Index channels) {
    const Index index = blockIdx.x * Index{kWarps} + threadIdx.y;
    tile = index % tiles;
    item = index / tiles;
    channel = blockIdx.y * Index{kLanes} + threadIdx.x;
    used = item < items && channel < channels;
  }
};

/// out[t] = Σ_s filter(t - s) values[s], or with kReversed out[s] = Σ_t filter(t - s) values[t].
template <bool kReversed>
__global__ void __launch_bounds__(kLanes* kWarps)
    convolve_directly(LongConvSize s, Batched<float> values, Batched<float> filter,
                      Gradient<float> out) {
  after_previous();
  const Place at(ceil_div(s.length, kTile), s.examples, s.channels);
  if (!at.used) return;
  const Sequence sequence(values, s, at.item, at.channel);
  const Taps taps(filter, s, at.channel);
  const Index to = at.tile * kTile;
  Index first = kReversed ? to : max(Index{0}, to - s.taps + 1);
  Index end = kReversed ? min(s.length, to + kTile - 1 + s.taps) : min(s.length, to + kTile);
  if (s.wraps()) {
    first = 0;
    end = s.length;
  }
  float sums[kTile] = {};
  for (Index from = first; from < end; from += kTile)
    add_tile<kReversed>(sequence, taps, from, to, sums);
  float* column = out.view.data + blockIdx.z * out.view.replica_stride +
                  at.item * s.length * out.view.stride + at.channel;
#pragma unroll
  for (int i = 0; i < kTile; ++i) {
    if (to + i >= s.length) continue;
    float* place = column + (to + i) * out.view.stride;
    *place = out.accumulate ? *place + sums[i] : sums[i];
  }
}

/// Tiles of distances [-first, L), where `first` is 0 unless taps wrap around.
__host__ __device__ Index distances_ahead(const LongConvSize& s) {
  return s.taps > s.length ? ceil_div(s.length, kTile) * kTile : 0;
}

/// parts [R, blocks of examples, taps, D]: Σ dy[t] u[t - d] for every distance d of a tap.
__global__ void __launch_bounds__(kLanes* kWarps, 2)
    filter_sums(LongConvSize s, Index blocks, Batched<float> u, Batched<float> dy, float* parts) {
  after_previous();
  const Index ahead = distances_ahead(s);
  const Place at((ahead + ceil_div(s.length, kTile) * kTile) / kTile, blocks, s.channels);
  if (!at.used) return;
  const Index to = at.tile * kTile - ahead, last = min(s.examples, (at.item + 1) * kExampleBlock);
  float sums[kTile] = {};
  for (Index example = at.item * kExampleBlock; example < last; ++example) {
    const Sequence gradient(dy, s, example, at.channel), values(u, s, example, at.channel);
    const Index end = min(s.length, s.length + to + kTile - 1);
    for (Index from = max(Index{0}, to); from < end; from += kTile)
      add_tile<true>(gradient, values, from, to, sums);
  }
  float* part = parts + (blockIdx.z * blocks + at.item) * s.taps * s.channels + at.channel;
#pragma unroll
  for (int i = 0; i < kTile; ++i) {
    const Index distance = to + i, tap = distance >= 0 ? distance : distance + 2 * s.length;
    if (distance >= -s.length && distance < s.length && tap < s.taps)
      part[tap * s.channels] = sums[i];
  }
}

dim3 grid_of(const LongConvSize& s, Index tiles) {
  return dim3(static_cast<unsigned>(ceil_div(tiles, kWarps)),
              static_cast<unsigned>(ceil_div(s.channels, kLanes)),
              static_cast<unsigned>(s.replicas));
}

template <bool kReversed>
void launch_convolve(const CudaCall& call, const LongConvSize& s, const Batched<float>& values,
                     const Batched<float>& filter, const Gradient<float>& out) {
  cuda_launch(
      "convolve_directly", convolve_directly<kReversed>,
      {grid_of(s, s.examples * ceil_div(s.length, kTile)), dim3(kLanes, kWarps), 0, call.stream}, s,
      values, filter, out);
}

void launch_filter_sums(const CudaCall& call, const LongConvSize& s, Index blocks,
                        const Batched<float>& u, const Batched<float>& dy, float* parts) {
  const Index tiles = distances_ahead(s) / kTile + ceil_div(s.length, kTile);
  cuda_launch("filter_sums", filter_sums,
              {grid_of(s, blocks * tiles), dim3(kLanes, kWarps), 0, call.stream}, s, blocks, u, dy,
              parts);
}

/// The rows in use; taps out of reach have no gradient.
Gradient<float> reachable(const CudaCall& call, const LongConvSize& s,
                          const Gradient<float>& dfilter) {
  Gradient<float> rows = dfilter;
  if (!dfilter.wanted) return rows;
  rows.view.rows = s.taps;
  Batched<float> beyond = dfilter.view;
  if (dfilter.accumulate || beyond.rows == s.taps) return rows;
  beyond.data += s.taps * beyond.stride;
  beyond.rows -= s.taps;
  cuda_set_numbers(call.stream, beyond, 0);
  return rows;
}

}  // namespace

Index long_conv_cuda_scratch(const LongConvSize& s, bool backward) {
  if (s.length > kDirectLongConvCuda) return long_conv_fft_cuda_scratch(s, backward);
  return backward ? s.replicas * ceil_div(s.examples, kExampleBlock) * s.taps * s.channels : 0;
}

void long_conv_forward_cuda(const CudaCall& call, const LongConvSize& s, const Batched<float>& u,
                            const Batched<float>& filter, const Batched<float>& y, float* scratch) {
  if (long_conv_uses_tensor_cores(call.precision, s, false) &&
      long_conv_tensor_bytes(s) <= cuda_shared_limit())
    long_conv_tensor_cuda(call, s, u, filter, y);
  else if (s.length > kDirectLongConvCuda)
    long_conv_fft_cuda(call, s, u, filter, y, scratch);
  else
    launch_convolve<false>(call, s, u, filter, {y, true, false});
}

void long_conv_backward_cuda(const CudaCall& call, const LongConvSize& s, const Batched<float>& u,
                             const Batched<float>& filter, const Batched<float>& dy,
                             const Gradient<float>& du, const Gradient<float>& dfilter,
                             float* scratch) {
  const Gradient<float> rows = reachable(call, s, dfilter);
  if (s.length > kDirectLongConvCuda)
    return long_conv_fft_backward_cuda(call, s, u, filter, dy, du, rows, scratch);
  const bool tensor_cores = long_conv_uses_tensor_cores(call.precision, s, true);
  const std::size_t shared = cuda_shared_limit();
  if (du.wanted && tensor_cores && long_conv_tensor_bytes(s) <= shared)
    long_conv_tensor_du_cuda(call, s, filter, dy, du);
  else if (du.wanted)
    launch_convolve<true>(call, s, dy, filter, du);
  if (!dfilter.wanted) return;
  Index blocks = ceil_div(s.examples, kExampleBlock);
  if (tensor_cores && long_conv_tensor_sums_bytes(s) <= shared) {
    blocks = ceil_div(s.examples, kTensorExampleBlock);
    long_conv_tensor_sums_cuda(call, s, kTensorExampleBlock, u, dy, scratch);
  } else {
    launch_filter_sums(call, s, blocks, u, dy, scratch);
  }
  sum_partials_cuda(call, s.replicas, {scratch, blocks, s.taps * s.channels, 0, rows, {}});
}

}  // namespace recallbench
