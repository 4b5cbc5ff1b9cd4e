#include "mixers/hyena/filter_cpu.h"

#include <algorithm>
#include <cmath>

namespace recallbench {

template <class T>
void sine_forward_cpu(const Batched<T>& x, const Batched<T>& frequency, const Batched<T>& y) {
  for (Index r = 0; r < y.replicas; ++r) {
    const T* f = frequency.replica(r).data;
    for (Index l = 0; l < y.rows; ++l)
      for (Index c = 0; c < y.cols; ++c)
        y.replica(r).row(l)[c] = std::sin(f[c] * x.replica(r).row(l)[c]);
  }
}

template <class T>
void sine_backward_cpu(const Batched<T>& x, const Batched<T>& frequency, const Batched<T>& dy,
                       const Gradient<T>& dx, const Gradient<T>& dfrequency) {
  for (Index r = 0; r < dy.replicas; ++r) {
    const T* f = frequency.replica(r).data;
    T* df = dfrequency.wanted ? dfrequency.view.replica(r).data : nullptr;
    if (df != nullptr && !dfrequency.accumulate) std::fill_n(df, dy.cols, T(0));
    for (Index l = 0; l < dy.rows; ++l) {
      const T *from = x.replica(r).row(l), *d = dy.replica(r).row(l);
      T* to = dx.wanted ? dx.view.replica(r).row(l) : nullptr;
      for (Index c = 0; c < dy.cols; ++c) {
        const T slope = d[c] * std::cos(f[c] * from[c]);
        if (to != nullptr) to[c] = dx.accumulate ? to[c] + f[c] * slope : f[c] * slope;
        if (df != nullptr) df[c] += from[c] * slope;
      }
    }
  }
}

template <class T>
void exponential_window_cpu(const Batched<T>& h, const Batched<T>& times, const Batched<T>& rates,
                            double shift, const Batched<T>& y, bool accumulate) {
  for (Index r = 0; r < y.replicas; ++r) {
    const T* rate = rates.replica(r).data;
    for (Index l = 0; l < y.rows; ++l) {
      const T time = *times.replica(r).row(l);
      const T* from = h.replica(r).row(l);
      T* to = y.replica(r).row(l);
      for (Index c = 0; c < y.cols; ++c) {
        const T value = from[c] * (std::exp(-time * std::abs(rate[c])) + static_cast<T>(shift));
        to[c] = accumulate ? to[c] + value : value;
      }
    }
  }
}

#define INSTANTIATE(T)                                                                          \
  template void sine_forward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&);      \
  template void sine_backward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&,      \
                                  const Gradient<T>&, const Gradient<T>&);                      \
  template void exponential_window_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&, \
                                       double, const Batched<T>&, bool);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
