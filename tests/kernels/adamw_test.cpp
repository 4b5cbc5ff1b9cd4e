// Steps of AdamW against its formula, number by number, on the CPU and (where there is one) a GPU.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/adamw/adamw_cuda.h"
#include "kernels/graph/probe.h"
#include "kernels/tensor/device_copy.h"

namespace recallbench::testing {
namespace {

constexpr std::int64_t kSteps = 3;
const std::vector<double> kLr{1e-2, 3e-3, 1e-1}, kDecay{0.1, 0.0, 0.5};
const std::vector<Parameter> kUpdated{{0}, {1}, {3}};

std::vector<ParameterSpec> specs() {
  return {{"decays", {33, 70}, normal(1), true, true},  // several blocks, the last with 262 numbers
          {"bias", {7}, normal(1), false, true},
          {"left_alone", {5}, normal(1), true, true},
          {"one", {1}, normal(1), true, true}};
}

std::vector<double> gradient(int parameter, Index count, std::int64_t step) {
  return normal_numbers(count, static_cast<std::uint64_t>(10 * step + parameter), 1.0);
}

/// The values after kSteps, by the formula in adamw.h.
std::vector<double> expected(const ParameterSpec& spec, int id, Index replica,
                             std::vector<double> p) {
  const auto r = static_cast<std::size_t>(replica);
  std::vector<double> m(p.size()), v(p.size());
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    const std::vector<double> g = gradient(id, static_cast<Index>(p.size()), step);
    const double n = static_cast<double>(step);
    for (std::size_t i = 0; i < p.size(); ++i) {
      p[i] *= 1 - kLr[r] * (spec.decays ? kDecay[r] : 0);
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      p[i] -= kLr[r] * (m[i] / (1 - std::pow(0.9, n))) /
              (std::sqrt(v[i] / (1 - std::pow(0.999, n))) + 1e-8);
    }
  }
  return p;
}

void set_gradients(Parameters& parameters, std::int64_t step) {
  for (Index r = 0; r < parameters.replicas(); ++r) {
    std::vector<float> slab(static_cast<std::size_t>(parameters.slab()));
    for (int id = 0; id < parameters.count(); ++id) {
      const ParameterSpec& s = parameters.spec({id});
      const std::vector<double> g = gradient(id, s.rows() * s.cols(), step);
      std::copy(g.begin(), g.end(), slab.begin() + parameters.begin({id}));
    }
    parameters.set_slab(Slot::gradient, r, slab);
  }
}

template <class Step>
void expect_formula(Device device, const Step& make_step) {
  Parameters parameters(specs(), DType::f32, 3, device);
  std::vector<std::vector<double>> first;
  for (Index r = 0; r < 3; ++r) {
    parameters.initialise(r, static_cast<std::uint64_t>(r));
    for (int id = 0; id < parameters.count(); ++id)
      first.push_back(parameters.get({id}, r));
  }
  auto step = make_step(parameters);
  for (std::int64_t i = 1; i <= kSteps; ++i) {
    set_gradients(parameters, i);
    step(i);
  }
  for (Index r = 0; r < 3; ++r) {
    for (int id = 0; id < parameters.count(); ++id) {
      const auto& before = first[static_cast<std::size_t>(r * parameters.count() + id)];
      const double error = id == 2 ? relative_error(parameters.get({id}, r), before)
                                   : relative_error(parameters.get({id}, r),
                                                    expected(parameters.spec({id}), id, r, before));
      EXPECT_TRUE(error <= (id == 2 ? 0 : 1e-6))
          << "parameter " << id << ", replica " << r << ": " << error;
    }
  }
}

TEST(Adamw, FollowsItsFormula) {
  expect_formula(Device::cpu, [](Parameters& parameters) {
    return [&parameters](std::int64_t i) { adamw_step(parameters, kUpdated, kLr, kDecay, i); };
  });
}

TEST(Adamw, FollowsItsFormulaOnAGpu) {
  if constexpr (kCudaBuild) {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
    expect_formula(Device::cuda, [](Parameters& parameters) {
      auto optimizer = std::make_shared<AdamwCuda>(parameters, kUpdated);
      auto rates = std::make_shared<Arena>(Device::cuda);
      rates->reserve(kLr.size() * sizeof(AdamwRates));
      return [optimizer, rates](std::int64_t i) {
        std::vector<AdamwRates> of_step;
        for (std::size_t r = 0; r < kLr.size(); ++r)
          of_step.push_back(adamw_rates(kLr[r], kDecay[r], i));
        copy_to_device(Device::cuda, rates->data(), of_step.data(),
                       of_step.size() * sizeof(AdamwRates));
        optimizer->step({cuda_stream(), Precision::fp32, nullptr, nullptr},
                        reinterpret_cast<const AdamwRates*>(rates->data()));
      };
    });
  } else {
    GTEST_SKIP() << "a build without CUDA";
  }
}

}  // namespace
}  // namespace recallbench::testing
