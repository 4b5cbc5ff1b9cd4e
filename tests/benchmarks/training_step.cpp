// Where the time of a training step goes, against Eigen's sgemm 4096 x 64 x 64 in the same run.
// Usage: bench_training_step [based|attention|sliding_window|base_conv|mamba] [d_model] [batch]
//                            [length] [pairs] [vocabulary] [repetitions]
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <string_view>

#include "kernels/adamw/adamw.h"
#include "kernels/matmul/gemm.h"
#include "mixers/model.h"
#include "mixers/registry.h"
#include "tasks/dataset.h"

namespace recallbench {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Best of some repetitions, in FLOP/s.
double sgemm_rate() {
  const Index rows = 4096, n = 64;
  std::vector<float> a(static_cast<std::size_t>(rows * n), 0.5f), c(a.size());
  std::vector<float> b(static_cast<std::size_t>(n * n), 0.25f);
  double best = 1e9;
  for (int i = 0; i < 200; ++i) {
    const auto start = Clock::now();
    gemm<float>(Transpose::no, Transpose::no, 1.0f, Matrix<float>{a.data(), rows, n, n},
                Matrix<float>{b.data(), n, n, n}, false, Matrix<float>{c.data(), rows, n, n});
    best = std::min(best, since(start));
  }
  return 2.0 * static_cast<double>(rows * n * n) / best;
}

struct Setting {
  std::string mixer;
  Index d_model, batch, length, pairs, vocabulary;
  int repetitions;
};

/// Useful operations of one step: products with weights three times (forward, dx, dw), the causal
/// half of attention-like products once each, only labelled rows after the last mixer.
double useful_operations(const Setting& s) {
  const double d = static_cast<double>(s.d_model), rows = static_cast<double>(s.batch * s.length);
  const double labels = static_cast<double>(s.batch * s.pairs);
  const double head = 3 * 2 * labels * static_cast<double>(s.vocabulary) * d;
  const double conv = 3 * 2 * rows * (d * d + 3 * d);
  // Scores and values at the labelled queries, which see half of the keys on average.
  const double pairs = labels * static_cast<double>(s.length) / 2;
  if (s.mixer == "based")
    return head + conv + 3 * 2 * (labels * d * (16 + d) + rows * d * (16 + d) + pairs * (16 + d));
  if (s.mixer == "attention" || s.mixer == "sliding_window")
    return head + conv + 3 * 2 * (labels * 2 * d * d + rows * 2 * d * d + pairs * 2 * d);
  return 0;
}

ModelConfig model_of(const Setting& s) {
  ModelConfig model;
  model.vocab_size = s.vocabulary;
  model.d_model = s.d_model;
  model.block = mixer_registry().find(s.mixer).block;
  if (model.block == "transformer") model.layers.push_back({"base_conv", {}, ""});
  model.layers.push_back({s.mixer, {}, ""});
  return model;
}

/// Seconds: the shortest of all repetitions.
struct Times {
  double best, optimizer;
};

void print_report(const Setting& s, const Graph& graph, const Arena& arena, const Times& times) {
  std::map<std::string, std::pair<double, double>> by_name;
  for (const Graph::Profile& p : graph.profile()) {
    auto& [forward, backward] = by_name[p.name];
    forward += p.forward_s;
    backward += p.backward_s;
  }
  const double sgemm = sgemm_rate(), useful = useful_operations(s);
  fmt::print("{} d={} batch={} L={} pairs={} V={}: {:.2f} ms a step (best of {})\n", s.mixer,
             s.d_model, s.batch, s.length, s.pairs, s.vocabulary, times.best * 1e3, s.repetitions);
  fmt::print("useful {:.2f} GFLOP, {:.1f} GFLOP/s; sgemm 4096x64x64 {:.1f} GFLOP/s; ratio {:.2f}\n",
             useful * 1e-9, useful / times.best * 1e-9, sgemm * 1e-9, useful / times.best / sgemm);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print("arena {:.1f} MiB, process {:.1f} MiB\n", static_cast<double>(arena.size()) / 0x1p20,
             static_cast<double>(usage.ru_maxrss) / 0x1p10);
  fmt::print("{:52} {:>10} {:>10}\n", "operation (mean ms)", "forward", "backward");
  const double n = (s.repetitions - 1) * 1e-3;
  for (const auto& [name, seconds] : by_name)
    fmt::print("{:52} {:10.2f} {:10.2f}\n", name, seconds.first / n, seconds.second / n);
  fmt::print("{:52} {:10.2f}\n", "adamw (best)", times.optimizer * 1e3);
}

int run(const Setting& s) {
  Options options(
      "task 'mqar'",
      {{"vocab_size", s.vocabulary}, {"input_seq_len", s.length}, {"num_kv_pairs", s.pairs}});
  const auto task = builtin_tasks().find("mqar").make(options);
  const Dataset data(*task, 1, s.batch, 1);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(s.batch * s.length));
  std::vector<std::int32_t> positions(static_cast<std::size_t>(s.batch * s.pairs)),
      targets(positions);
  std::vector<float> weights(positions.size());
  data.copy_batch(0, s.batch, tokens.data(), positions.data(), targets.data(), weights.data());

  Model model(model_of(s), DType::f32, 1);
  model.parameters().initialise(0, 1);
  Arena arena;
  Graph graph(model.parameters(), true);
  model.record_loss(graph, s.batch, s.length, s.pairs);
  graph.finish(arena);
  const std::vector<Parameter> updated = graph.used_parameters();
  const std::uint64_t seed = 1;
  const double lr = 1e-3, decay = 0.1;
  double best = 1e9, optimizer = 1e9;
  for (int i = 0; i < s.repetitions; ++i) {
    const auto start = Clock::now();
    graph.forward({s.batch,
                   s.length,
                   s.pairs,
                   tokens.data(),
                   positions.data(),
                   targets.data(),
                   weights.data(),
                   static_cast<std::uint32_t>(i),
                   {&seed, 1}});
    graph.backward();
    const auto before = Clock::now();
    adamw_step(model.parameters(), updated, {&lr, 1}, {&decay, 1}, i + 1);
    optimizer = std::min(optimizer, since(before));
    best = std::min(best, since(start));
    if (i == 0) graph.set_profiling(true);
  }
  print_report(s, graph, arena, {best, optimizer});
  return 0;
}

}  // namespace
}  // namespace recallbench

int main(int argc, char** argv) {
  constexpr const char* kUsage =
      "Usage: bench_training_step [MIXER] [D_MODEL] [BATCH] [LENGTH] [PAIRS] [VOCABULARY] "
      "[REPETITIONS]\n"
      "(based 64 64 256 16 8192 20)";
  if (argc > 1 && argv[1][0] == '-') {
    const bool asked = std::string_view(argv[1]) == "--help" || std::string_view(argv[1]) == "-h";
    fmt::print(asked ? stdout : stderr, "{}\n", kUsage);
    return asked ? 0 : 2;
  }
  const auto number = [&](int i, long fallback) {
    return argc > i ? std::atol(argv[i]) : fallback;
  };
  try {
    return recallbench::run({argc > 1 ? argv[1] : "based", number(2, 64), number(3, 64),
                             number(4, 256), number(5, 16), number(6, 8192),
                             static_cast<int>(number(7, 20))});
  } catch (const recallbench::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
