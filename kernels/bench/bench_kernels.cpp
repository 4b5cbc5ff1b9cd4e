// Google Benchmark over every case with `flops`: forward, and forward with backward, in float.
// Counters: FLOP/s counts the case's useful operations once forward and twice more backward.
#include <benchmark/benchmark.h>

#include "kernels/graph/op_case.h"
#include "kernels/matmul/gemm.h"
#include "tests/support/run_case.h"

namespace recallbench {
namespace {

void time_case(benchmark::State& state, const OpCase& c, bool training) {
  testing::PreparedCase<float> prepared(c, testing::case_inputs(c, 1), training);
  for (auto _ : state)
    prepared.replay_alone();
  state.counters["FLOP/s"] = benchmark::Counter(c.flops * (training ? 3 : 1),
                                                benchmark::Counter::kIsIterationInvariantRate);
}

/// The yardstick: Eigen's sgemm 4096 x 64 x 64.
void time_sgemm(benchmark::State& state) {
  const Index rows = 4096, n = 64;
  std::vector<float> a(static_cast<std::size_t>(rows * n), 0.5f),
      b(static_cast<std::size_t>(n * n), 0.25f), c(a.size());
  for (auto _ : state) {
    gemm<float>(Transpose::no, Transpose::no, 1.0f, Matrix<float>{a.data(), rows, n, n},
                Matrix<float>{b.data(), n, n, n}, false, Matrix<float>{c.data(), rows, n, n});
    benchmark::DoNotOptimize(c.data());
  }
  state.counters["FLOP/s"] = benchmark::Counter(2.0 * static_cast<double>(rows * n * n),
                                                benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace
}  // namespace recallbench

int main(int argc, char** argv) {
  using namespace recallbench;
  benchmark::RegisterBenchmark("sgemm/4096x64x64", time_sgemm);
  for (const OpCase& c : all_op_cases()) {
    if (c.flops == 0) continue;
    for (const bool training : {false, true}) {
      benchmark::RegisterBenchmark(
          (c.name + (training ? "/forward_backward" : "/forward")).c_str(),
          [c, training](benchmark::State& s) { time_case(s, c, training); })
          ->Unit(benchmark::kMicrosecond);
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
