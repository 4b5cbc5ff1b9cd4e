// Floor: latency. L taps of H M modes are few products in double (L = 256, H = 32, M = 8: 0.5
// MFLOP), but each is a power. A warp takes a mode and each of its lanes a run of 8 taps, whose
// first power comes from repeated squaring: chains of about 40 products instead of L.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numbers.cuh"
#include "mixers/h3/filters_cuda.h"

namespace recallbench {
namespace {

constexpr int kRun = 8;           // neighbouring taps of a lane
constexpr int kTaps = 32 * kRun;  // taps of a warp
constexpr int kForwardWarps = 8;  // kTaps threads
constexpr int kBackwardWarps = 16;
constexpr int kStage = 1024;  // taps in shared memory, whole runs of a warp
constexpr unsigned kAllLanes = 0xffffffffu;
static_assert(kForwardWarps * 32 == kTaps && kStage % kTaps == 0);

struct Complex {
  double re, im;
};
__device__ Complex operator+(Complex a, Complex b) {
  return {a.re + b.re, a.im + b.im};
}
__device__ Complex operator*(Complex a, Complex b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
__device__ Complex operator*(double f, Complex a) {
  return {f * a.re, f * a.im};
}

/// base^exponent, exponent >= 0.
__device__ Complex power_of(Complex base, Index exponent) {
  Complex result{1, 0};
  for (; exponent > 0; exponent >>= 1, base = base * base)
    if (exponent & 1) result = result * base;
  return result;
}

__device__ const float* row_of(const Batched<float>& m, Index replica, Index row) {
  return m.data + replica * m.replica_stride + row * m.stride;
}

/// One mode after discretisation.
struct Mode {
  Complex a, c, b, inverse;  // A, and 1 / (1 - Δ A / 2)
  double dt;

  __device__ Mode(const DiagonalSsmViews<float>& in, Index replica, Index head, Index n) {
    const Index row = head * in.log_decay.cols + n;
    const float *cs = row_of(in.c, replica, row), *bs = row_of(in.b, replica, row);
    c = {cs[0], cs[1]};
    b = {bs[0], bs[1]};
    a = {-exp(static_cast<double>(row_of(in.log_decay, replica, head)[n])),
         row_of(in.frequency, replica, head)[n]};
    dt = exp(static_cast<double>(row_of(in.log_dt, replica, 0)[head]));
    const double re = 1 - dt * a.re / 2, im = -dt * a.im / 2, scale = 1 / (re * re + im * im);
    inverse = {re * scale, -im * scale};
  }
  __device__ Complex power() const {  // Ā
    return Complex{1 + dt * a.re / 2, dt * a.im / 2} * inverse;
  }
  __device__ Complex weight() const { return dt * (c * b * inverse); }  // c B̄
};

/// A block is kTaps taps of a head; its warps share the modes.
__global__ void __launch_bounds__(kTaps)
    diagonal_filter(DiagonalSsmViews<float> in, Batched<float> d, Batched<float> filter) {
  after_previous();
  __shared__ double sums[kForwardWarps][kTaps];
  const Index heads = d.cols, copies = filter.cols / heads, modes = in.log_decay.cols;
  const Index pieces = (filter.rows + kTaps - 1) / kTaps;
  const Index first = blockIdx.x % pieces * kTaps, head = blockIdx.x / pieces % heads;
  const Index replica = blockIdx.x / pieces / heads;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  double sum[kRun] = {};
  for (Index n = warp; n < modes; n += kForwardWarps) {
    const Mode mode(in, replica, head, n);
    const Complex a = mode.power();
    Complex now = mode.weight() * power_of(a, first + lane * kRun);
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      sum[i] += now.re;
      now = now * a;
    }
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i)
    sums[warp][lane * kRun + i] = sum[i];
  __syncthreads();
  const Index l = first + threadIdx.x;
  if (l >= filter.rows) return;
  double total = 0;
  for (int w = 0; w < kForwardWarps; ++w)
    total += sums[w][threadIdx.x];
  total *= 2;
  if (l == 0) total += row_of(d, replica, 0)[head];
  float* to = filter.data + replica * filter.replica_stride + l * filter.stride + head;
  for (Index k = 0; k < copies; ++k)
    to[k * heads] = static_cast<float>(total);
}

__device__ Complex sum_over_lanes(Complex x) {
  for (int offset = 16; offset > 0; offset /= 2)
    x = x +
        Complex{__shfl_xor_sync(kAllLanes, x.re, offset), __shfl_xor_sync(kAllLanes, x.im, offset)};
  return x;
}

/// s += Σ_i taps[i] Ā^(first + i) and ds += its derivative by Ā, of one run: Horner's rule, then
/// the power before the run.
__device__ void add_run(const double* taps, Complex a, Index first, Complex& s, Complex& ds) {
  Complex run{0, 0}, drun{0, 0};
#pragma unroll
  for (int i = kRun - 1; i >= 0; --i) {
    drun = drun * a + run;
    run = run * a + Complex{taps[i], 0};
  }
  if (first == 0) {
    s = s + run;
    ds = ds + drun;
    return;
  }
  const Complex before = power_of(a, first - 1), power = before * a;
  s = s + power * run;
  ds = ds + power * drun + static_cast<double>(first) * (before * run);
}

/// The gradients of one mode from s = Σ_l dκ[l] Ā^l and ds = ds/dĀ, as the CPU twin has them;
/// returns the mode's part of that of Δ.
__device__ double finish_mode(const Mode& mode, Complex s, Complex ds, Index replica, Index head,
                              Index n, Index modes, const DiagonalSsmGradients<float>& out) {
  const Index row = head * modes + n;
  const Complex dw = 2.0 * s, da_bar = 2.0 * (mode.weight() * ds);
  const Complex q = mode.inverse, q2 = q * q, cb = dw * mode.c * mode.b * q2;
  const Complex dc = mode.dt * (dw * mode.b * q), db = mode.dt * (dw * mode.c * q);
  const Complex da = (mode.dt * mode.dt / 2) * cb + mode.dt * (da_bar * q2);
  write_gradient(out.c, replica, row, 0, dc.re);
  write_gradient(out.c, replica, row, 1, -dc.im);
  write_gradient(out.b, replica, row, 0, db.re);
  write_gradient(out.b, replica, row, 1, -db.im);
  write_gradient(out.log_decay, replica, head, n, da.re * mode.a.re);
  write_gradient(out.frequency, replica, head, n, -da.im);
  return (cb + da_bar * mode.a * q2).re;
}

/// Taps [first, first + kStage) of a head, zeros beyond the last; the copies' gradients add up.
__device__ void load_stage(const Batched<float>& dfilter, Index replica, Index head, Index heads,
                           Index first, double* taps) {
  for (int i = threadIdx.x; i < kStage; i += kBackwardWarps * 32) {
    double sum = 0;
    if (first + i < dfilter.rows)
      for (Index col = head; col < dfilter.cols; col += heads)
        sum += row_of(dfilter, replica, first + i)[col];
    taps[i] = sum;
  }
}

/// A block is a head.
__global__ void __launch_bounds__(kBackwardWarps * 32)
    diagonal_filter_backward(DiagonalSsmViews<float> in, Batched<float> dfilter,
                             DiagonalSsmGradients<float> out) {
  after_previous();
  __shared__ double taps[kStage], to_dts[kBackwardWarps];
  const Index heads = in.log_dt.cols, modes = in.log_decay.cols;
  const Index head = blockIdx.x % heads, replica = blockIdx.x / heads;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  double to_dt = 0, first_tap = 0;
  for (Index group = 0; group < modes; group += kBackwardWarps) {
    const Index n = group + warp;  // warps without a mode stay for the barriers
    const Mode mode(in, replica, head, n < modes ? n : modes - 1);
    const Complex a = mode.power();
    Complex s{0, 0}, ds{0, 0};
    for (Index stage = 0; stage < dfilter.rows; stage += kStage) {
      __syncthreads();
      load_stage(dfilter, replica, head, heads, stage, taps);
      __syncthreads();
      if (stage == 0) first_tap = taps[0];
      for (int run = lane * kRun; run < kStage && stage + run < dfilter.rows; run += kTaps)
        add_run(taps + run, a, stage + run, s, ds);
    }
    s = sum_over_lanes(s);
    ds = sum_over_lanes(ds);
    if (lane == 0 && n < modes) to_dt += finish_mode(mode, s, ds, replica, head, n, modes, out);
  }
  if (lane == 0) to_dts[warp] = to_dt;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double total = 0;
  for (int w = 0; w < kBackwardWarps; ++w)
    total += to_dts[w];
  write_gradient(out.log_dt, replica, 0, head,
                 total * exp(static_cast<double>(row_of(in.log_dt, replica, 0)[head])));
  write_gradient(out.d, replica, 0, head, first_tap);
}

}  // namespace

void diagonal_ssm_filter_cuda(const CudaCall& call, const DiagonalSsmViews<float>& in,
                              const Batched<float>& d, const Batched<float>& filter) {
  const Index blocks = filter.replicas * d.cols * ((filter.rows + kTaps - 1) / kTaps);
  cuda_launch("diagonal_ssm_filter", diagonal_filter,
              {static_cast<unsigned>(blocks), kTaps, 0, call.stream}, in, d, filter);
}

void diagonal_ssm_filter_backward_cuda(const CudaCall& call, const DiagonalSsmViews<float>& in,
                                       const Batched<float>& dfilter,
                                       const DiagonalSsmGradients<float>& out) {
  const auto blocks = static_cast<unsigned>(dfilter.replicas * in.log_dt.cols);
  cuda_launch("diagonal_ssm_filter_backward", diagonal_filter_backward,
              {blocks, kBackwardWarps * 32, 0, call.stream}, in, dfilter, out);
}

}  // namespace recallbench
