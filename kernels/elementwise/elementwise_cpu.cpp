#include "kernels/elementwise/elementwise_cpu.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/elementwise/softplus.h"
#include "kernels/elementwise/tanh_gelu.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Elements that one block takes; rows are never cut.
constexpr Index kBlock = 1 << 15;

template <class T>
using Row = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;

/// body(replica, first row, rows), over all rows of all replicas.
template <class T, class Body>
void for_rows(const Batched<T>& shape, const Body& body) {
  const Index grain = std::max<Index>(1, kBlock / std::max<Index>(1, shape.cols));
  for (Index r = 0; r < shape.replicas; ++r)
    parallel_ranges(shape.rows, grain, [&](Index first, Index count) { body(r, first, count); });
}

template <class T>
auto sigmoid(const ConstRow<T>& x) {
  return (T(1) + (-x).exp()).inverse();
}

template <class T>
T phi(T x) {  // standard normal distribution function
  return T(0.5) * (T(1) + std::erf(x * T(std::numbers::sqrt2 / 2)));
}

/// body(first column, working numbers of as many columns): a row a piece at a time.
template <class T, class Body>
void for_pieces(Index cols, const Body& body) {
  constexpr Index kPiece = 256;
  // Aligned as packets are: elements before the first whole packet are computed one by one, with
  // other bits, and on the stack their number depends on the caller.
  alignas(64) T work[kPiece];
  for (Index j = 0; j < cols; j += kPiece)
    body(j, Row<T>(work, std::min(kPiece, cols - j)));
}

/// x and y may be one row.
template <class T>
void apply_row(Activation f, const ConstRow<T>& x, Row<T> y) {
  switch (f) {
    case Activation::silu:
      y = x * sigmoid<T>(x);
      break;
    case Activation::gelu:
      y = x * x.unaryExpr([](T v) { return phi(v); });
      break;
    case Activation::relu:
      y = x.max(T(0));
      break;
    case Activation::softplus:
      for_pieces<T>(x.size(), [&](Index j, Row<T> work) {
        softplus(x.data() + j, work.data(), work.size());
        y.segment(j, work.size()) = work;
      });
      break;
    case Activation::sigmoid:
      y = sigmoid<T>(x);
      break;
    case Activation::tanh:
      y = x.tanh();
      break;
    case Activation::gelu_tanh:
      y = x.unaryExpr([](T v) { return TanhGelu<T>(v).value(); });
      break;
  }
}

template <class T, class Derivative>
void chain(const ConstRow<T>& dy, const Derivative& derivative, bool accumulate, Row<T> dx) {
  if (accumulate)
    dx += dy * derivative;
  else
    dx = dy * derivative;
}

template <class T>
void chain_row(Activation f, const ConstRow<T>& x, const ConstRow<T>& dy, bool accumulate,
               Row<T> dx) {
  switch (f) {
    case Activation::silu:
      chain<T>(dy, sigmoid<T>(x) * (T(1) + x * (T(1) - sigmoid<T>(x))), accumulate, dx);
      break;
    case Activation::gelu: {
      const T density = static_cast<T>(std::numbers::inv_sqrtpi * std::numbers::sqrt2 / 2);
      chain<T>(dy,
               x.unaryExpr([](T v) { return phi(v); }) + x * density * (x.square() * T(-0.5)).exp(),
               accumulate, dx);
      break;
    }
    case Activation::relu:
      chain<T>(dy, (x > T(0)).template cast<T>(), accumulate, dx);
      break;
    case Activation::softplus:
      for_pieces<T>(x.size(), [&](Index j, Row<T> slope) {
        const Index n = slope.size();
        softplus_slope(x.data() + j, slope.data(), n);
        chain<T>(ConstRow<T>(dy.data() + j, n), slope, accumulate, Row<T>(dx.data() + j, n));
      });
      break;
    case Activation::sigmoid:
      chain<T>(dy, sigmoid<T>(x) * (T(1) - sigmoid<T>(x)), accumulate, dx);
      break;
    case Activation::tanh:
      chain<T>(dy, T(1) - x.tanh().square(), accumulate, dx);
      break;
    case Activation::gelu_tanh:
      chain<T>(dy, x.unaryExpr([](T v) { return TanhGelu<T>(v).first(); }), accumulate, dx);
      break;
  }
}

}  // namespace

template <class T>
void add_cpu(const Batched<T>& a, const Batched<T>& b, const Batched<T>& y) {
  for_rows(y, [&](Index r, Index first, Index count) {
    for (Index i = first; i < first + count; ++i) {
      const T *ai = a.replica(r).row(i), *bi = b.replica(r).row(i);
      T* yi = y.replica(r).row(i);
      for (Index j = 0; j < y.cols; ++j)
        yi[j] = ai[j] + bi[j];
    }
  });
}

template <class T>
void copy_cpu(const Batched<T>& from, const Gradient<T>& to) {
  if (!to.wanted) return;
  for_rows(from, [&](Index r, Index first, Index count) {
    for (Index i = first; i < first + count; ++i) {
      const T* source = from.replica(r).row(i);
      T* target = to.view.replica(r).row(i);
      if (to.accumulate)
        for (Index j = 0; j < from.cols; ++j)
          target[j] += source[j];
      else
        std::copy_n(source, from.cols, target);
    }
  });
}

template <class T>
void multiply_cpu(const Batched<T>& a, const Batched<T>& b, const Batched<T>& y, bool accumulate) {
  for_rows(y, [&](Index r, Index first, Index count) {
    for (Index i = first; i < first + count; ++i) {
      const T *ai = a.replica(r).row(i), *bi = b.replica(r).row(i);
      T* yi = y.replica(r).row(i);
      if (accumulate)
        for (Index j = 0; j < y.cols; ++j)
          yi[j] += ai[j] * bi[j];
      else
        for (Index j = 0; j < y.cols; ++j)
          yi[j] = ai[j] * bi[j];
    }
  });
}

template <class T>
void activate_cpu(Activation f, const Batched<T>& x, const Batched<T>& y) {
  for_rows(y, [&](Index r, Index first, Index count) {
    for (Index i = first; i < first + count; ++i)
      apply_row<T>(f, ConstRow<T>(x.replica(r).row(i), x.cols),
                   Row<T>(y.replica(r).row(i), y.cols));
  });
}

template <class T>
void activate_backward_cpu(Activation f, const Batched<T>& x, const Batched<T>& dy,
                           const Gradient<T>& dx) {
  if (!dx.wanted) return;
  for_rows(dy, [&](Index r, Index first, Index count) {
    for (Index i = first; i < first + count; ++i)
      chain_row<T>(f, ConstRow<T>(x.replica(r).row(i), x.cols),
                   ConstRow<T>(dy.replica(r).row(i), dy.cols), dx.accumulate,
                   Row<T>(dx.view.replica(r).row(i), dy.cols));
  });
}

template <class T>
void gate_cpu(Activation f, const Batched<T>& y, const Batched<T>& z, const Batched<T>& out) {
  for_rows(out, [&](Index r, Index first, Index count) {
    for (Index i = first; i < first + count; ++i)
      for_pieces<T>(out.cols, [&](Index j, Row<T> value) {
        apply_row<T>(f, ConstRow<T>(z.replica(r).row(i) + j, value.size()), value);
        Row<T>(out.replica(r).row(i) + j, value.size()) =
            value * ConstRow<T>(y.replica(r).row(i) + j, value.size());
      });
  });
}

template <class T>
void gate_backward_cpu(Activation f, const Batched<T>& y, const Batched<T>& z,
                       const Batched<T>& dout, const Gradient<T>& dy, const Gradient<T>& dz) {
  const auto write = [](const Gradient<T>& to, Index r, Index i, Index j, const auto& values) {
    Row<T> at(to.view.replica(r).row(i) + j, values.size());
    if (to.accumulate)
      at += values;
    else
      at = values;
  };
  for_rows(dout, [&](Index r, Index first, Index count) {
    for (Index i = first; i < first + count; ++i)
      for_pieces<T>(dout.cols, [&](Index j, Row<T> work) {
        const ConstRow<T> zs(z.replica(r).row(i) + j, work.size()),
            ys(y.replica(r).row(i) + j, work.size()), d(dout.replica(r).row(i) + j, work.size());
        if (dy.wanted) {
          apply_row<T>(f, zs, work);
          write(dy, r, i, j, d * work);
        }
        if (dz.wanted) {
          chain_row<T>(f, zs, d, false, work);
          write(dz, r, i, j, ys * work);
        }
      });
  });
}

#define INSTANTIATE(T)                                                                         \
  template void add_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&);              \
  template void copy_cpu(const Batched<T>&, const Gradient<T>&);                               \
  template void multiply_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&, bool);   \
  template void activate_cpu(Activation, const Batched<T>&, const Batched<T>&);                \
  template void activate_backward_cpu(Activation, const Batched<T>&, const Batched<T>&,        \
                                      const Gradient<T>&);                                     \
  template void gate_cpu(Activation, const Batched<T>&, const Batched<T>&, const Batched<T>&); \
  template void gate_backward_cpu(Activation, const Batched<T>&, const Batched<T>&,            \
                                  const Batched<T>&, const Gradient<T>&, const Gradient<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
