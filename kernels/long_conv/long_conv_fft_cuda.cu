// The FFT form: for a chunk of examples, [examples, L, D] is transposed to columns of 2L numbers,
// padded with zeros, transformed in place by cuFFT, multiplied by the filter's spectrum and brought
// back. Floor: about 12 times the 2L numbers of a column move forward, from L2 where a chunk fits
// (32 MB); u and y themselves move once. Replicas go one after another through the same plans, so
// that their number changes no bit.
#include <cufft.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "kernels/base/error.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/long_conv/long_conv_cuda.h"

namespace recallbench {
namespace {

constexpr int kTile = 32, kTileRows = 8;
constexpr Index kChunkNumbers = Index{1} << 23;  // of the columns of a chunk, at most

void fft_check(cufftResult result, const char* what) {
  check(result == CUFFT_SUCCESS, "long_conv", what);
}

struct Plan {
  cufftHandle handle = 0;
  std::size_t work_bytes = 0;
};

/// In-place transforms of `batch` columns of n numbers that lie n + 2 apart. Made once a process.
const Plan& plan_of(cufftType type, Index n, Index batch) {
  static std::map<std::tuple<int, Index, Index>, Plan> plans;
  Plan& plan = plans[{static_cast<int>(type), n, batch}];
  if (plan.handle != 0) return plan;
  fft_check(cufftCreate(&plan.handle), "cufftCreate failed");
  fft_check(cufftSetAutoAllocation(plan.handle, 0), "cufftSetAutoAllocation failed");
  const bool forward = type == CUFFT_R2C;
  long long size = n, real = n + 2, complex = n / 2 + 1;
  fft_check(cufftMakePlanMany64(plan.handle, 1, &size, forward ? &real : &complex, 1,
                                forward ? real : complex, forward ? &complex : &real, 1,
                                forward ? complex : real, type, batch, &plan.work_bytes),
            "cufftMakePlanMany64 failed: a plan for this length cannot be made");
  return plan;
}

void transform(const CudaCall& call, cufftType type, Index n, Index batch, float* columns,
               float* work) {
  const Plan& plan = plan_of(type, n, batch);
  fft_check(cufftSetStream(plan.handle, call.stream), "cufftSetStream failed");
  fft_check(cufftSetWorkArea(plan.handle, work), "cufftSetWorkArea failed");
  cufftComplex* const spectra = reinterpret_cast<cufftComplex*>(columns);
  fft_check(type == CUFFT_R2C ? cufftExecR2C(plan.handle, columns, spectra)
                              : cufftExecC2R(plan.handle, spectra, columns),
            "a transform by cuFFT failed");
}

/// columns [examples · D][n + 2] = from [examples, rows, D], transposed, zeros from `rows` to n.
__global__ void to_columns(Matrix<float> from, Index rows, Index n, float* columns) {
  after_previous();
  __shared__ float tile[kTile][kTile + 1];
  const Index t0 = blockIdx.x * Index{kTile}, c0 = blockIdx.y * Index{kTile};
  const float* data = from.data + blockIdx.z * rows * from.stride;
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    const Index t = t0 + i, c = c0 + threadIdx.x;
    tile[i][threadIdx.x] = t < rows && c < from.cols ? data[t * from.stride + c] : 0.0f;
  }
  __syncthreads();
  float* to = columns + blockIdx.z * from.cols * (n + 2);
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    const Index t = t0 + threadIdx.x, c = c0 + i;
    if (t < n && c < from.cols) to[c * (n + 2) + t] = tile[threadIdx.x][i];
  }
}

/// to [examples, rows, D] = columns / n, or += that.
__global__ void from_columns(const float* columns, Index rows, Index n, Matrix<float> to,
                             bool accumulate) {
  after_previous();
  __shared__ float tile[kTile][kTile + 1];
  const Index t0 = blockIdx.x * Index{kTile}, c0 = blockIdx.y * Index{kTile};
  const float* from = columns + blockIdx.z * to.cols * (n + 2);
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    const Index t = t0 + threadIdx.x, c = c0 + i;
    tile[i][threadIdx.x] = t < rows && c < to.cols ? from[c * (n + 2) + t] : 0.0f;
  }
  __syncthreads();
  const float scale = 1.0f / static_cast<float>(n);
  float* data = to.data + blockIdx.z * rows * to.stride;
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    const Index t = t0 + i, c = c0 + threadIdx.x;
    if (t >= rows || c >= to.cols) continue;
    const float value = tile[threadIdx.x][i] * scale;
    float* place = data + t * to.stride + c;
    *place = accumulate ? *place + value : value;
  }
}

__device__ float2 product(float2 a, float2 b) {
  return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
__device__ float2 conjugate(float2 a) {
  return make_float2(a.x, -a.y);
}

/// spectra [examples, spectrum] *= filter [spectrum].
__global__ void multiply_spectra(Index examples, Index spectrum, const float2* filter,
                                 float2* spectra) {
  after_previous();
  const Index i = blockIdx.x * Index{blockDim.x} + threadIdx.x;
  if (i >= spectrum) return;
  const float2 f = filter[i];
  for (Index e = 0; e < examples; ++e)
    spectra[e * spectrum + i] = product(spectra[e * spectrum + i], f);
}

/// sums = Σ over the examples, in order, of conj(u) dy (`first`: from zero); dy becomes
/// conj(filter) dy. Null u: no sums.
__global__ void backward_spectra(Index examples, Index spectrum, const float2* filter,
                                 const float2* u, bool first, float2* dy, float2* sums) {
  after_previous();
  const Index i = blockIdx.x * Index{blockDim.x} + threadIdx.x;
  if (i >= spectrum) return;
  const float2 f = conjugate(filter[i]);
  float2 sum = u == nullptr || first ? make_float2(0, 0) : sums[i];
  for (Index e = 0; e < examples; ++e) {
    const float2 d = dy[e * spectrum + i];
    if (u != nullptr) {
      const float2 p = product(conjugate(u[e * spectrum + i]), d);
      sum = make_float2(sum.x + p.x, sum.y + p.y);
    }
    dy[e * spectrum + i] = product(d, f);
  }
  if (u != nullptr) sums[i] = sum;
}

/// How the scratch is laid out, and the sizes of one chunk.
struct Layout {
  Index n, pitch, chunk;  // 2L; of a column; examples: a divisor of B
  Index filter, columns, total;
  float *work, *spectrum, *sums, *first, *second;

  Layout(const LongConvSize& s, bool backward, float* scratch) {
    n = 2 * s.length;
    pitch = n + 2;
    chunk = std::clamp<Index>(kChunkNumbers / (pitch * s.channels), 1, s.examples);
    while (s.examples % chunk != 0)
      --chunk;
    filter = s.channels * pitch;
    columns = chunk * filter;
    std::size_t work_bytes = 0;
    for (const cufftType type : {CUFFT_R2C, CUFFT_C2R})
      for (const Index batch : {s.channels, chunk * s.channels})
        work_bytes = std::max(work_bytes, plan_of(type, n, batch).work_bytes);
    // Pieces begin 256 bytes apart, so that their alignment is always the same.
    const auto padded = [](Index numbers) { return (numbers + 63) / 64 * 64; };
    const Index work_numbers = padded(static_cast<Index>(work_bytes / sizeof(float)) + 1);
    work = scratch;
    spectrum = work + work_numbers;
    first = spectrum + padded(filter);
    sums = first + padded(columns);
    second = sums + padded(filter);
    total = work_numbers + padded(filter) + padded(columns) +
            (backward ? padded(filter) + padded(columns) : 0);
  }
};

dim3 tiles_of(Index rows, Index channels, Index examples) {
  return dim3(static_cast<unsigned>((rows + kTile - 1) / kTile),
              static_cast<unsigned>((channels + kTile - 1) / kTile),
              static_cast<unsigned>(examples));
}

/// Spectra of `examples` times `rows` rows of `from`.
void forward_transform(const CudaCall& call, const Layout& at, const Matrix<float>& from,
                       Index examples, Index rows, float* columns) {
  cuda_launch("to_columns", to_columns,
              {tiles_of(at.n, from.cols, examples), dim3(kTile, kTileRows), 0, call.stream}, from,
              rows, at.n, columns);
  transform(call, CUFFT_R2C, at.n, examples * from.cols, columns, at.work);
}

void inverse_transform(const CudaCall& call, const Layout& at, float* columns, Index examples,
                       Index rows, const Matrix<float>& to, bool accumulate) {
  transform(call, CUFFT_C2R, at.n, examples * to.cols, columns, at.work);
  cuda_launch("from_columns", from_columns,
              {tiles_of(rows, to.cols, examples), dim3(kTile, kTileRows), 0, call.stream}, columns,
              rows, at.n, to, accumulate);
}

constexpr unsigned kThreads = 256;

float2* complex(float* numbers) {
  return reinterpret_cast<float2*>(numbers);
}

}  // namespace

Index long_conv_fft_cuda_scratch(const LongConvSize& s, bool backward) {
  return Layout(s, backward, nullptr).total;
}

void long_conv_fft_cuda(const CudaCall& call, const LongConvSize& s, const Batched<float>& u,
                        const Batched<float>& filter, const Batched<float>& y, float* scratch) {
  const Layout at(s, false, scratch);
  const Index spectrum = at.filter / 2;
  const auto blocks = static_cast<unsigned>((spectrum + kThreads - 1) / kThreads);
  for (Index r = 0; r < s.replicas; ++r) {
    forward_transform(call, at, filter.replica(r), 1, s.taps, at.spectrum);
    for (Index e = 0; e < s.examples; e += at.chunk) {
      const Index row = e * s.length, rows = at.chunk * s.length;
      forward_transform(call, at, u.replica(r).block(row, rows), at.chunk, s.length, at.first);
      cuda_launch("multiply_spectra", multiply_spectra, {blocks, kThreads, 0, call.stream},
                  at.chunk, spectrum, complex(at.spectrum), complex(at.first));
      inverse_transform(call, at, at.first, at.chunk, s.length, y.replica(r).block(row, rows),
                        false);
    }
  }
}

void long_conv_fft_backward_cuda(const CudaCall& call, const LongConvSize& s,
                                 const Batched<float>& u, const Batched<float>& filter,
                                 const Batched<float>& dy, const Gradient<float>& du,
                                 const Gradient<float>& dfilter, float* scratch) {
  const Layout at(s, true, scratch);
  const Index spectrum = at.filter / 2;
  const auto blocks = static_cast<unsigned>((spectrum + kThreads - 1) / kThreads);
  for (Index r = 0; r < s.replicas; ++r) {
    forward_transform(call, at, filter.replica(r), 1, s.taps, at.spectrum);
    for (Index e = 0; e < s.examples; e += at.chunk) {
      const Index row = e * s.length, rows = at.chunk * s.length;
      forward_transform(call, at, dy.replica(r).block(row, rows), at.chunk, s.length, at.first);
      if (dfilter.wanted)
        forward_transform(call, at, u.replica(r).block(row, rows), at.chunk, s.length, at.second);
      cuda_launch("backward_spectra", backward_spectra, {blocks, kThreads, 0, call.stream},
                  at.chunk, spectrum, complex(at.spectrum),
                  dfilter.wanted ? complex(at.second) : nullptr, e == 0, complex(at.first),
                  complex(at.sums));
      if (du.wanted)
        inverse_transform(call, at, at.first, at.chunk, s.length,
                          du.view.replica(r).block(row, rows), du.accumulate);
    }
    if (dfilter.wanted)
      inverse_transform(call, at, at.sums, 1, s.taps, dfilter.view.replica(r), dfilter.accumulate);
  }
}

}  // namespace recallbench
