#include "kernels/adamw/adamw.h"

#include <cmath>

#include "kernels/adamw/adamw_cuda.h"
#include "kernels/tensor/device_copy.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

constexpr Index kBlock = 1 << 14;

template <class T>
struct Rates {
  T keep, beta1, gain1, beta2, gain2, step_size, root_correction, eps;
};

template <class T>
void update(const Rates<T>& c, Index n, const T* g, T* p, T* m, T* v) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const T moment = c.beta1 * m[i] + c.gain1 * g[i];
    const T square = c.beta2 * v[i] + c.gain2 * g[i] * g[i];
    m[i] = moment;
    v[i] = square;
    p[i] = p[i] * c.keep - c.step_size * moment / (std::sqrt(square) * c.root_correction + c.eps);
  }
}

template <class T>
void step_as(Parameters& parameters, Parameter p, Index r, const Rates<T>& rates) {
  const Matrix<T> value = parameters.value<T>(p).replica(r);
  const T* g = parameters.gradient<T>(p).replica(r).data;
  T* m = parameters.moment<T>(0, p).replica(r).data;
  T* v = parameters.moment<T>(1, p).replica(r).data;
  parallel_ranges(value.rows * value.cols, kBlock, [&](Index first, Index count) {
    update(rates, count, g + first, value.data + first, m + first, v + first);
  });
}

#ifdef RECALLBENCH_CUDA
/// A lone step: training keeps the optimizer and the rates of a whole epoch on the GPU.
void step_on_cuda(Parameters& parameters, const std::vector<Parameter>& updated,
                  std::span<const double> lr, std::span<const double> weight_decay,
                  std::int64_t step, const AdamwConstants& c) {
  std::vector<AdamwRates> rates;
  for (std::size_t r = 0; r < lr.size(); ++r)
    rates.push_back(adamw_rates(lr[r], weight_decay[r], step, c));
  Arena on_device(Device::cuda);
  on_device.reserve(rates.size() * sizeof(AdamwRates));
  copy_to_device(Device::cuda, on_device.data(), rates.data(), rates.size() * sizeof(AdamwRates));
  const CudaCall call{cuda_stream(), Precision::fp32, nullptr, nullptr};
  AdamwCuda(parameters, updated, c).step(call, reinterpret_cast<AdamwRates*>(on_device.data()));
  cuda_synchronize();
}
#endif

}  // namespace

AdamwRates adamw_rates(double lr, double weight_decay, std::int64_t step, const AdamwConstants& c) {
  const double n = static_cast<double>(step);
  const double correction1 = 1 - std::pow(c.beta1, n), correction2 = 1 - std::pow(c.beta2, n);
  return {1 - lr * weight_decay, lr / correction1, 1 / std::sqrt(correction2)};
}

void adamw_step(Parameters& parameters, const std::vector<Parameter>& updated,
                std::span<const double> lr, std::span<const double> weight_decay, std::int64_t step,
                const AdamwConstants& c) {
#ifdef RECALLBENCH_CUDA
  if (parameters.device() == Device::cuda)
    return step_on_cuda(parameters, updated, lr, weight_decay, step, c);
#endif
  for (Index r = 0; r < parameters.replicas(); ++r) {
    const AdamwRates rates = adamw_rates(lr[static_cast<std::size_t>(r)],
                                         weight_decay[static_cast<std::size_t>(r)], step, c);
    for (const Parameter p : updated) {
      const auto run = [&](auto type) {
        using T = decltype(type);
        step_as<T>(parameters, p, r,
                   {static_cast<T>(parameters.spec(p).decays ? rates.keep : 1.0),
                    static_cast<T>(c.beta1), static_cast<T>(1 - c.beta1), static_cast<T>(c.beta2),
                    static_cast<T>(1 - c.beta2), static_cast<T>(rates.step_size),
                    static_cast<T>(rates.root_correction), static_cast<T>(c.eps)});
      };
      parameters.type() == DType::f32 ? run(float{}) : run(double{});
    }
  }
}

}  // namespace recallbench
