// The direct form on tensor cores. Floor: the bytes of u and y, 8 a number, 128 us for the 67 M
// numbers of R = 4, B = 256, L = 256, D = 256 at 4.2 TB/s; L FLOPs a number, 17 GFLOP, take about
// 60 us of tensor cores beside them, the filter's sums as many and its dy and u as many bytes.
//
// Of one channel, y [t, example] = T u [s, example] with T [t, s] = k[t - s]. A block has all of
// the time of a few channels and examples in shared memory, transposed there so that a warp finds
// its channel's numbers by time; y takes the place of u, and both move in whole sectors of 32
// bytes. A fragment of T depends on t - s alone: steps along s shift those in registers, and two
// loads bring the next. 64 products of 16 x 8 x 8 take 64 loads from shared memory.
//
// dk[d] = Σ dy[t] u[t - d] in tiles [16 t, 8 s] whose t0 - s0 are the multiples of 16: a tile of
// the product sums over all examples and times of its distance, and its diagonals are added last.
#include <algorithm>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/long_conv/long_conv_cuda.h"

namespace recallbench {
namespace {

constexpr int kChunk = 64;  // times that a warp takes from registers at once
// Zeros before a filter's first tap: what tiles on the diagonal read ahead of it.
constexpr int kAhead = 16;
constexpr int kExamples = 8;     // of a block that convolves: the columns of a product
constexpr int kSumExamples = 4;  // of a step of the filter's sums
constexpr int kSumChannels = 8;  // a warp each
constexpr int kSumLength = 256;  // longest sequence whose sums stay in registers

__host__ __device__ constexpr int ceil_div(Index a, Index b) {
  return static_cast<int>((a + b - 1) / b);
}
__host__ __device__ constexpr int padded(Index length) {
  return ceil_div(length, kChunk) * kChunk;
}

/// Numbers by channel, example and time. Examples lie 4 or 8 more than a multiple of 32 apart, so
/// that a fragment's 8 x 4 or 4 x 8 numbers lie in different banks; channels 4 more, so that those
/// of a quad's neighbour do when they are transposed.
template <int kCount, int kPad>
struct Tile {
  float* data;
  int example, channel;  // strides

  __device__ Tile(float* at, int length)
      : data(at), example(length + kPad), channel(kCount * example + 4) {}
  __host__ __device__ static constexpr int numbers(int channels, int length) {
    return channels * (kCount * (length + kPad) + 4);
  }
};

/// Four neighbouring channels of one example, by time or, with kReversed, from its end.
template <bool kReversed>
struct Quad {
  float* data;
  Index stride;
  int length, count;  // channels that there are: 0 to 4
  bool whole;         // may be read as one

  /// An example that is not there is one of no length.
  __device__ Quad(const Batched<float>& m, const LongConvSize& s, Index example, Index channel,
                  bool quads)
      : data(m.data + blockIdx.y * m.replica_stride + example * s.length * m.stride + channel),
        stride(m.stride),
        length(example < s.examples ? static_cast<int>(s.length) : 0),
        count(static_cast<int>(min(Index{4}, max(Index{0}, s.channels - channel)))),
        whole(quads && count == 4) {}

  __device__ float* row(int t) const { return data + (kReversed ? length - 1 - t : t) * stride; }
};

/// What a lane does of a warp's pass over an example: kRows times by kChannels channels.
template <int kChannels>
struct Pass {
  static constexpr int kQuads = kChannels / 4, kRows = 32 / kQuads;
  int quad, first;

  __device__ Pass()
      : quad(static_cast<int>(threadIdx.x) % kQuads),
        first(static_cast<int>(threadIdx.x) / kQuads) {}
};

__device__ float rounded(float x) {
  return __uint_as_float(tf32_bits(x));
}

/// A warp brings one example to `to`, rounded, zeros from its end to `length`. Eight loads of a
/// lane are under way at a time.
template <int kChannels, bool kReversed>
__device__ void bring(const Quad<kReversed>& from, int length, float* to, int channel_stride) {
  constexpr int kRows = Pass<kChannels>::kRows, kLoads = 8;
  const Pass<kChannels> pass;
  to += 4 * pass.quad * channel_stride;
  for (int t0 = pass.first; t0 < length; t0 += kLoads * kRows) {
    float numbers[kLoads][4] = {};
    if (from.whole) {
#pragma unroll
      for (int i = 0; i < kLoads; ++i)
        if (t0 + i * kRows < from.length) load_numbers(from.row(t0 + i * kRows), numbers[i]);
    } else {
#pragma unroll
      for (int i = 0; i < kLoads; ++i)
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (t0 + i * kRows < from.length && k < from.count)
            numbers[i][k] = from.row(t0 + i * kRows)[k];
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i)
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (t0 + i * kRows < length)
          to[k * channel_stride + t0 + i * kRows] = rounded(numbers[i][k]);
  }
}

/// A warp writes one example.
template <int kChannels, bool kReversed>
__device__ void take(const float* from, int channel_stride, const Quad<kReversed>& to,
                     bool accumulate) {
  constexpr int kRows = Pass<kChannels>::kRows;
  const Pass<kChannels> pass;
  from += 4 * pass.quad * channel_stride;
#pragma unroll 4
  for (int t = pass.first; t < to.length; t += kRows) {
    float numbers[4];
#pragma unroll
    for (int k = 0; k < 4; ++k)
      numbers[k] = from[k * channel_stride + t];
    float* row = to.row(t);
    if (to.whole) {
      write_numbers(numbers, accumulate, row);
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (k < to.count) row[k] = accumulate ? row[k] + numbers[k] : numbers[k];
    }
  }
}

/// 8 x 8 of T: k[8 m + g - t] and k[8 m + g - t - 4] for its m, where lane = 4 g + t.
struct TapsFragment {
  float near, far;
};

/// Of the fragments m = -7 to 7 beyond a chunk's distance; the next chunk is 64 nearer.
struct TapsWindow {
  TapsFragment at[15];

  __device__ void load(const float* taps, int i) {
    at[i] = {taps[8 * (i - 7)], taps[8 * (i - 7) - 4]};
  }
  __device__ void shift() {
#pragma unroll
    for (int i = 0; i < 7; ++i)
      at[8 + i] = at[i];
  }
};

/// sums [64 t, 8 examples] += T u for 64 times s. `taps` is the lane's tap of distance t0 - s0, `u`
/// its number at s0; the window has the fragments from m = 1 on. On the diagonal, those with
/// t < s alone are left out.
template <bool kDiagonal>
__device__ void add_chunk(float (&sums)[4][4], TapsWindow& window, const float* taps,
                          const float* u) {
#pragma unroll
  for (int i = kDiagonal ? 6 : 0; i < 8; ++i)
    window.load(taps, i);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const std::uint32_t b[2] = {__float_as_uint(u[8 * j]), __float_as_uint(u[8 * j + 4])};
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      if (kDiagonal && j > 2 * n + 1) continue;
      const TapsFragment &upper = window.at[2 * n - j + 7], &lower = window.at[2 * n - j + 8];
      mma_tf32(sums[n],
               {__float_as_uint(upper.near), __float_as_uint(lower.near),
                __float_as_uint(upper.far), __float_as_uint(lower.far)},
               b);
    }
  }
}

/// One channel of 8 examples in place: `u` is its tile, `taps` its distance 0. Windows of 64 times
/// go from the last to the first, since a window's sums take the place of what only it and later
/// ones read.
__device__ void convolve_channel(float* u, int example_stride, const float* taps, int length,
                                 int reach) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const float* of_lane = u + g * example_stride + t;
  taps += g - t;
  for (int to = length - kChunk; to >= 0; to -= kChunk) {
    float sums[4][4] = {};
    TapsWindow window;
    int from = max(0, to - reach);
#pragma unroll
    for (int i = 8; i < 15; ++i)
      window.load(taps + to - from, i);
    for (; from < to; from += kChunk) {
      add_chunk<false>(sums, window, taps + to - from, of_lane + from);
      window.shift();
    }
    add_chunk<true>(sums, window, taps, of_lane + to);
    __syncwarp();
    float* place = u + 2 * t * example_stride + to + g;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      place[16 * n] = sums[n][0];
      place[16 * n + example_stride] = sums[n][1];
      place[16 * n + 8] = sums[n][2];
      place[16 * n + 8 + example_stride] = sums[n][3];
    }
  }
}

/// out[t] = Σ_s filter[t - s] values[s], or with kReversed out[s] = Σ_t filter[t - s] values[t]:
/// the same with time running back. A warp a channel.
template <bool kReversed, int kChannels>
__global__ void __launch_bounds__(32 * kChannels, 24 / kChannels)
    convolve_tiles(LongConvSize s, Batched<float> values, Batched<float> filter,
                   Gradient<float> out, bool quads) {
  extern __shared__ __align__(16) float shared[];
  const int length = padded(s.length), warp = static_cast<int>(threadIdx.y);
  const int groups = ceil_div(s.channels, kChannels);
  const Index channel = Index{blockIdx.x % groups} * kChannels;
  const Index example = Index{blockIdx.x / groups} * kExamples;
  const Tile<kExamples, 4> tile(shared, length);
  float* filters = shared + Tile<kExamples, 4>::numbers(kChannels, length);
  const int filter_stride = kAhead + length;

  const int quad = 4 * Pass<kChannels>().quad;
  for (int e = warp; e < kExamples; e += kChannels)
    bring<kChannels>(Quad<kReversed>(values, s, example + e, channel + quad, quads), length,
                     tile.data + e * tile.example, tile.channel);
  // Neighbouring threads take neighbouring channels.
  const int thread = warp * 32 + static_cast<int>(threadIdx.x), c = thread % kChannels;
  const float* taps = filter.data + blockIdx.y * filter.replica_stride + channel + c;
#pragma unroll 4
  for (int d = thread / kChannels - kAhead; d < length; d += 32)
    filters[c * filter_stride + kAhead + d] =
        d >= 0 && d < s.taps && channel + c < s.channels ? rounded(taps[d * filter.stride]) : 0.0f;
  __syncthreads();

  if (channel + warp < s.channels)
    convolve_channel(tile.data + warp * tile.channel, tile.example,
                     filters + warp * filter_stride + kAhead, length,
                     static_cast<int>((s.taps + kChunk - 2) / kChunk * kChunk));
  __syncthreads();

  for (int e = warp; e < kExamples; e += kChannels)
    take<kChannels>(tile.data + e * tile.example, tile.channel,
                    Quad<kReversed>(out.view, s, example + e, channel + quad, quads),
                    out.accumulate);
}

/// Two neighbouring blocks of 8 times of u.
struct TimePair {
  float first, second;
};

/// sums[n] += of distances from 16 n beyond `distance` on, over 64 times: x the blocks of 8 of dy
/// there, pairs[i] the pair of u 16 (i - 3) beyond `distance` before. On the diagonal the pairs
/// before time 0 are left out.
template <bool kDiagonal>
__device__ void add_distances(float (&sums)[4][4], const std::uint32_t (&x)[9],
                              const TimePair (&pairs)[7]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      if (kDiagonal && n > i) continue;
      const TimePair& u = pairs[i - n + 3];
      mma_tf32(sums[n], {x[2 * i], x[2 * i + 1], x[2 * i + 1], x[2 * i + 2]},
               {__float_as_uint(u.first), __float_as_uint(u.second)});
    }
}

/// One channel of 4 examples. The inner index of a product is an example, now at the times t0 and
/// now 8 later: both lie at one distance from their u.
template <int kWindows>
__device__ void add_channel(float (&sums)[kWindows][4][4], const float* u, const float* dy,
                            int length, int taps) {
  for (int chunk = 0; chunk < length / kChunk; ++chunk) {
    std::uint32_t x[9];
#pragma unroll
    for (int i = 0; i < 9; ++i)
      x[i] = __float_as_uint(dy[chunk * kChunk + 8 * i]);
    TimePair pairs[7];
#pragma unroll
    for (int window = 0; window < kWindows; ++window) {
      if (window > chunk || window * kChunk >= taps + 7) continue;
      const float* from = u + (chunk - window) * kChunk;
      const auto load = [&](int i) { pairs[i] = {from[16 * (i - 3)], from[16 * (i - 3) + 8]}; };
      if (window == 0) {
#pragma unroll
        for (int i = 4; i < 7; ++i)
          load(i);
      } else {
#pragma unroll
        for (int i = 0; i < 3; ++i)
          pairs[4 + i] = pairs[i];
      }
      load(3);
      if (window == chunk) {
        add_distances<true>(sums[window], x, pairs);
      } else {
#pragma unroll
        for (int i = 0; i < 3; ++i)
          load(i);
        add_distances<false>(sums[window], x, pairs);
      }
    }
  }
}

/// Where number j of row i of a channel's sums lies: dk[d] = Σ_j of (d + j, j). Writing 8 rows and
/// reading 4 rows of 8 channels meet no bank twice.
__device__ int place_of_sum(int channel, int length, int i, int j) {
  return (channel * length + i) * 8 + ((j + i / 4 + channel) & 7);
}

/// parts [R, slices, taps, D]: Σ dy[t] u[t - d] over the examples of a slice. A warp a channel.
template <int kWindows>
__global__ void __launch_bounds__(32 * kSumChannels, 2)
    filter_sums_tiles(LongConvSize s, Index slice_examples, Batched<float> u, Batched<float> dy,
                      float* parts, bool quads) {
  extern __shared__ __align__(16) float shared[];
  const int length = padded(s.length), warp = static_cast<int>(threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const int groups = ceil_div(s.channels, kSumChannels);
  const Index channel = Index{blockIdx.x % groups} * kSumChannels, slice = blockIdx.x / groups;
  using Examples = Tile<kSumExamples, 8>;
  const Examples us(shared, length), dys(shared + Examples::numbers(kSumChannels, length), length);
  const bool brings_u = warp < kSumExamples;  // or dy, of one example
  const int example_of_warp = warp % kSumExamples, quad = 4 * Pass<kSumChannels>().quad;

  float sums[kWindows][4][4] = {};
  // Times beyond the end that a last tile reads.
  for (int c = t; c < kSumChannels && brings_u; c += 4)
    dys.data[c * dys.channel + example_of_warp * dys.example + length + g] = 0;
  const Index last = min(s.examples, (slice + 1) * slice_examples);
  for (Index first = slice * slice_examples; first < last; first += kSumExamples) {
    const Index example = first + example_of_warp < last ? first + example_of_warp : s.examples;
    bring<kSumChannels>(Quad<false>(brings_u ? u : dy, s, example, channel + quad, quads), length,
                        (brings_u ? us.data : dys.data) + example_of_warp * us.example, us.channel);
    __syncthreads();
    add_channel(sums, us.data + warp * us.channel + t * us.example + g,
                dys.data + warp * dys.channel + t * dys.example + g, length,
                static_cast<int>(s.taps));
    __syncthreads();
  }

#pragma unroll
  for (int m = 0; m < 4 * kWindows; ++m)
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int i = 16 * m + g + 8 * (k / 2);
      if (16 * m < length)
        shared[place_of_sum(warp, length, i, 2 * t + k % 2)] = sums[m / 4][m % 4][k];
    }
  __syncthreads();
  const int c = lane % kSumChannels;
  float* part = parts +
                (blockIdx.y * ceil_div(s.examples, slice_examples) + slice) * s.taps * s.channels +
                channel + c;
  if (channel + c >= s.channels) return;
  for (int d = warp * 4 + lane / kSumChannels; d < s.taps; d += 32) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j)
      if (d + j < length) sum += shared[place_of_sum(c, length, d + j, j)];
    part[d * s.channels] = sum;
  }
}

template <class Kernel>
void allow_shared(Kernel kernel, int bytes) {
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
             "cudaFuncSetAttribute");
}

dim3 grid_of(const LongConvSize& s, int channels, Index items) {
  return dim3(static_cast<unsigned>(ceil_div(s.channels, channels) * items),
              static_cast<unsigned>(s.replicas));
}

template <bool kReversed, int kChannels>
void convolve(const CudaCall& call, const LongConvSize& s, const Batched<float>& values,
              const Batched<float>& filter, const Gradient<float>& out) {
  const int length = padded(s.length);
  const int bytes =
      (Tile<kExamples, 4>::numbers(kChannels, length) + kChannels * (kAhead + length)) *
      static_cast<int>(sizeof(float));
  const auto kernel = convolve_tiles<kReversed, kChannels>;
  allow_shared(kernel, bytes);
  kernel<<<grid_of(s, kChannels, ceil_div(s.examples, kExamples)), dim3(32, kChannels), bytes,
           call.stream>>>(s, values, filter, out, in_quads(values) && in_quads(out.view));
  cuda_check_launch("convolve_tiles");
}

template <bool kReversed>
void convolve(const CudaCall& call, const LongConvSize& s, const Batched<float>& values,
              const Batched<float>& filter, const Gradient<float>& out) {
  if (s.length <= kSumLength)
    convolve<kReversed, 8>(call, s, values, filter, out);
  else
    convolve<kReversed, 4>(call, s, values, filter, out);
}

template <int kWindows>
void filter_sums(const CudaCall& call, const LongConvSize& s, Index slice_examples,
                 const Batched<float>& u, const Batched<float>& dy, float* parts) {
  const int bytes = 2 * Tile<kSumExamples, 8>::numbers(kSumChannels, padded(s.length)) *
                    static_cast<int>(sizeof(float));
  const auto kernel = filter_sums_tiles<kWindows>;
  allow_shared(kernel, bytes);
  kernel<<<grid_of(s, kSumChannels, ceil_div(s.examples, slice_examples)), dim3(32, kSumChannels),
           bytes, call.stream>>>(s, slice_examples, u, dy, parts, in_quads(u) && in_quads(dy));
  cuda_check_launch("filter_sums_tiles");
}

}  // namespace

void long_conv_tensor_cuda(const CudaCall& call, const LongConvSize& s, const Batched<float>& u,
                           const Batched<float>& filter, const Batched<float>& y) {
  convolve<false>(call, s, u, filter, {y, true, false});
}

void long_conv_tensor_du_cuda(const CudaCall& call, const LongConvSize& s,
                              const Batched<float>& filter, const Batched<float>& dy,
                              const Gradient<float>& du) {
  convolve<true>(call, s, dy, filter, du);
}

void long_conv_tensor_sums_cuda(const CudaCall& call, const LongConvSize& s, Index slice_examples,
                                const Batched<float>& u, const Batched<float>& dy, float* parts) {
  if (s.length <= kChunk)
    filter_sums<1>(call, s, slice_examples, u, dy, parts);
  else if (s.length <= 2 * kChunk)
    filter_sums<2>(call, s, slice_examples, u, dy, parts);
  else
    filter_sums<4>(call, s, slice_examples, u, dy, parts);
}

}  // namespace recallbench
