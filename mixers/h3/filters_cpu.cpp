#include "mixers/h3/filters_cpu.h"

#include <algorithm>
#include <cmath>
#include <complex>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

using Complex = std::complex<double>;

// Modes whose powers move on together.
constexpr Index kModes = 16;

template <class T>
void put(const Gradient<T>& to, Index r, Index row, Index col, double value) {
  if (!to.wanted) return;
  T& at = to.view.replica(r).row(row)[col];
  at = static_cast<T>(to.accumulate ? static_cast<double>(at) + value : value);
}

/// One mode after discretisation.
struct Mode {
  Complex a, c, b, inverse;  // A, and 1 / (1 - Δ A / 2)
  double dt;

  template <class T>
  Mode(const DiagonalSsmViews<T>& in, Index r, Index head, Index n) {
    const Index row = head * in.log_decay.cols + n;
    const T *cs = in.c.replica(r).row(row), *bs = in.b.replica(r).row(row);
    c = {static_cast<double>(cs[0]), static_cast<double>(cs[1])};
    b = {static_cast<double>(bs[0]), static_cast<double>(bs[1])};
    a = {-std::exp(static_cast<double>(in.log_decay.replica(r).row(head)[n])),
         static_cast<double>(in.frequency.replica(r).row(head)[n])};
    dt = std::exp(static_cast<double>(in.log_dt.replica(r).data[head]));
    inverse = 1.0 / (1.0 - dt * a / 2.0);
  }
  Complex power() const { return (1.0 + dt * a / 2.0) * inverse; }  // Ā
  Complex weight() const { return c * b * dt * inverse; }           // c B̄
};

/// Up to kModes modes of a head, real and imaginary parts apart.
struct Block {
  Index count;
  double re[kModes] = {}, im[kModes] = {};          // Ā
  double now_re[kModes] = {}, now_im[kModes] = {};  // what moves on

  template <class T>
  Block(const DiagonalSsmViews<T>& in, Index r, Index head, Index first)
      : count(std::min(kModes, in.log_decay.cols - first)) {
    for (Index n = 0; n < count; ++n) {
      const Mode mode(in, r, head, first + n);
      re[n] = mode.power().real();
      im[n] = mode.power().imag();
      now_re[n] = mode.weight().real();
      now_im[n] = mode.weight().imag();
    }
  }
};

}  // namespace

template <class T>
void shift_ssm_filter_cpu(const Batched<T>& b, const Batched<T>& c, const Batched<T>& d,
                          const Batched<T>& filter) {
  const Index states = b.cols;
  for (Index r = 0; r < filter.replicas; ++r)
    parallel_for(filter.cols, [&](Index channel) {
      const T *bs = b.replica(r).row(channel), *cs = c.replica(r).row(channel);
      for (Index l = 0; l < filter.rows; ++l) {
        double sum = l == 0 ? static_cast<double>(d.replica(r).data[channel]) : 0;
        for (Index m = 0; m < states - l; ++m)
          sum += static_cast<double>(bs[m]) * static_cast<double>(cs[m + l]);
        filter.replica(r).row(l)[channel] = static_cast<T>(sum);
      }
    });
}

template <class T>
void shift_ssm_filter_backward_cpu(const Batched<T>& b, const Batched<T>& c,
                                   const Batched<T>& dfilter, const Gradient<T>& db,
                                   const Gradient<T>& dc, const Gradient<T>& dd) {
  const Index states = b.cols, taps = dfilter.rows;
  for (Index r = 0; r < dfilter.replicas; ++r)
    parallel_for(dfilter.cols, [&](Index channel) {
      const T *bs = b.replica(r).row(channel), *cs = c.replica(r).row(channel);
      const auto tap = [&](Index l) {
        return static_cast<double>(dfilter.replica(r).row(l)[channel]);
      };
      put(dd, r, 0, channel, tap(0));
      for (Index m = 0; m < states; ++m) {
        double to_b = 0, to_c = 0;
        for (Index l = 0; l < std::min(taps, states - m); ++l)
          to_b += tap(l) * static_cast<double>(cs[m + l]);
        for (Index l = 0; l < std::min(taps, m + 1); ++l)
          to_c += tap(l) * static_cast<double>(bs[m - l]);
        put(db, r, channel, m, to_b);
        put(dc, r, channel, m, to_c);
      }
    });
}

template <class T>
void diagonal_ssm_filter_cpu(const DiagonalSsmViews<T>& in, const Batched<T>& d,
                             const Batched<T>& filter) {
  const Index heads = d.cols, copies = filter.cols / heads, modes = in.log_decay.cols;
  for (Index r = 0; r < filter.replicas; ++r)
    parallel_for(heads, [&](Index head) {
      const Matrix<T> to = filter.replica(r).columns(head, 1);
      for (Index l = 0; l < to.rows; ++l)
        *to.row(l) = l == 0 ? d.replica(r).data[head] : T(0);
      for (Index first = 0; first < modes; first += kModes) {
        Block block(in, r, head, first);
        for (Index l = 0; l < to.rows; ++l) {
          double sum = 0;
#pragma omp simd reduction(+ : sum)
          for (Index n = 0; n < kModes; ++n) {
            sum += block.now_re[n];
            const double re = block.now_re[n] * block.re[n] - block.now_im[n] * block.im[n];
            block.now_im[n] = block.now_re[n] * block.im[n] + block.now_im[n] * block.re[n];
            block.now_re[n] = re;
          }
          *to.row(l) += static_cast<T>(2 * sum);
        }
      }
      for (Index l = 0; l < to.rows; ++l)
        for (Index k = 1; k < copies; ++k)
          to.row(l)[k * heads] = *to.row(l);
    });
}

/// With W = c B̄ and s = Σ_l dκ[l] Ā^l by Horner's rule, the gradients (∂/∂re + i ∂/∂im) are
/// conj(2 s) of W and conj(2 W ds/dĀ) of Ā; further back each goes with the conjugate derivative.
template <class T>
void diagonal_ssm_filter_backward_cpu(const DiagonalSsmViews<T>& in, const Batched<T>& dfilter,
                                      const DiagonalSsmGradients<T>& out) {
  const Index heads = in.log_dt.cols, copies = dfilter.cols / heads, modes = in.log_decay.cols;
  for (Index r = 0; r < dfilter.replicas; ++r)
    parallel_for(heads, [&](Index head) {
      const auto tap = [&](Index l) {
        double sum = 0;
        for (Index k = 0; k < copies; ++k)
          sum += static_cast<double>(dfilter.replica(r).row(l)[k * heads + head]);
        return sum;
      };
      double to_dt = 0;
      for (Index first = 0; first < modes; first += kModes) {
        Block block(in, r, head, first);
        double s_re[kModes] = {}, s_im[kModes] = {}, ds_re[kModes] = {}, ds_im[kModes] = {};
        for (Index l = dfilter.rows - 1; l >= 0; --l) {
          const double dk = tap(l);
#pragma omp simd
          for (Index n = 0; n < kModes; ++n) {
            const double re = block.re[n], im = block.im[n], old = ds_re[n], sum = s_re[n];
            ds_re[n] = old * re - ds_im[n] * im + sum;
            ds_im[n] = old * im + ds_im[n] * re + s_im[n];
            s_re[n] = sum * re - s_im[n] * im + dk;
            s_im[n] = sum * im + s_im[n] * re;
          }
        }
        for (Index n = 0; n < block.count; ++n) {
          const Mode mode(in, r, head, first + n);
          const Index row = head * modes + first + n;
          const Complex dw = 2.0 * Complex(s_re[n], s_im[n]);  // conjugated at the end
          const Complex da_bar = 2.0 * mode.weight() * Complex(ds_re[n], ds_im[n]);
          const Complex q = mode.inverse, q2 = q * q;
          const Complex dc = dw * mode.b * mode.dt * q, db = dw * mode.c * mode.dt * q;
          const Complex da =
              dw * mode.c * mode.b * mode.dt * mode.dt * q2 / 2.0 + da_bar * mode.dt * q2;
          to_dt += (dw * mode.c * mode.b * q2 + da_bar * mode.a * q2).real();
          put(out.c, r, row, 0, dc.real());
          put(out.c, r, row, 1, -dc.imag());
          put(out.b, r, row, 0, db.real());
          put(out.b, r, row, 1, -db.imag());
          put(out.log_decay, r, head, first + n, da.real() * mode.a.real());
          put(out.frequency, r, head, first + n, -da.imag());
        }
      }
      put(out.log_dt, r, 0, head,
          to_dt * std::exp(static_cast<double>(in.log_dt.replica(r).data[head])));
      put(out.d, r, 0, head, tap(0));
    });
}

#define INSTANTIATE(T)                                                                          \
  template void shift_ssm_filter_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&,   \
                                     const Batched<T>&);                                        \
  template void shift_ssm_filter_backward_cpu(const Batched<T>&, const Batched<T>&,             \
                                              const Batched<T>&, const Gradient<T>&,            \
                                              const Gradient<T>&, const Gradient<T>&);          \
  template void diagonal_ssm_filter_cpu(const DiagonalSsmViews<T>&, const Batched<T>&,          \
                                        const Batched<T>&);                                     \
  template void diagonal_ssm_filter_backward_cpu(const DiagonalSsmViews<T>&, const Batched<T>&, \
                                                 const DiagonalSsmGradients<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
