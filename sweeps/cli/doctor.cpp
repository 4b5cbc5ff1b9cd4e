#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>

#include "analysis/gnuplot.h"
#include "kernels/base/error.h"
#include "kernels/base/io/json.h"
#include "kernels/base/version.h"
#include "kernels/cuda/runtime.h"
#include "sweeps/cli/cli.h"
#include "sweeps/run/cores.h"
#include "sweeps/run/progress_text.h"
#include "sweeps/store/layout.h"

namespace recallbench {
namespace {

/// One line: what was looked at, whether it is as it should be, what was found, and what to do
/// where it is not.
struct Finding {
  std::string name;
  bool ok = true;
  std::string found, fix;
};

constexpr double kLargestRun = 2.5e9;  // bytes

double available_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("MemAvailable:")) return 1024 * std::strtod(line.c_str() + 13, nullptr);
  return 0;
}

Finding memory() {
  const double bytes = available_memory();
  return {"memory", bytes >= kLargestRun, short_number(bytes) + "B available",
          fmt::format("close other programs, or lower --jobs: a run takes up to {}B",
                      short_number(kLargestRun))};
}

/// What the compiler was allowed to use; this processor has it, or the program would not start.
std::string simd_built() {
#if defined(__AVX512F__)
  return "AVX-512";
#elif defined(__AVX2__) && defined(__FMA__)
  return "AVX2 and FMA";
#elif defined(__ARM_NEON)
  return "NEON";
#else
  return "the processor family's minimum";
#endif
}

bool processor_has_more() {
#if defined(__x86_64__) && !defined(__AVX2__)
  return __builtin_cpu_supports("avx2");
#else
  return false;
#endif
}

Finding simd() {
  return {"SIMD", !processor_has_more(), simd_built(),
          "this processor has AVX2: configure with -DRECALLBENCH_NATIVE=ON"};
}

Finding plotting() {
  const bool there = gnuplot_available();
  return {"gnuplot", there, there ? "found" : "not found",
          "apt-get install gnuplot-nox: without it sweeps make tables, but no figures"};
}

Finding cuda() {
  if constexpr (!kCudaBuild)
    return {"CUDA", false, "not part of this build",
            "the CPU does everything, more slowly; `./bootstrap build cuda` takes CUDA in"};
  const int count = cuda_device_count();
  if (count == 0)
    return {"CUDA", false, "built in, but no GPU answers",
            "is NVIDIA's driver installed (nvidia-smi), and the GPU handed to this machine?"};
  std::string found;
  if constexpr (kCudaBuild)
    for (int i = 0; i < count; ++i)
      found += fmt::format("{}cuda:{} {}", i > 0 ? "; " : "", i, cuda_device_text(i));
  return {"CUDA", true, found, ""};
}

/// Where `sweep` puts its results by default.
Finding folder() {
  const bool has_results = access("results", F_OK) == 0;
  const std::string path = has_results ? "results" : ".";
  return {"folder", access(path.c_str(), W_OK) == 0,
          has_results ? "results/ of this folder" : "this folder",
          "change to a folder that you may write, or give --out DIR"};
}

std::vector<Finding> examine() {
  return {{"program", true, code_version(), ""},
          {"cores", true, std::to_string(usable_cores()), ""},
          memory(),
          {"compiler", true, RECALLBENCH_COMPILER, ""},
          simd(),
          {"libraries", true, RECALLBENCH_LIBRARIES, ""},
          plotting(),
          cuda(),
          folder()};
}

int doctor(const CommonOptions& common) {
  const std::vector<Finding> findings = examine();
  Json list(Json::Array{});
  for (const Finding& finding : findings) {
    const char* state = finding.ok ? "ok" : "missing";
    if (!common.json)
      fmt::print("{:<8}{:<11}{}{}\n", state, finding.name, finding.found,
                 finding.ok ? "" : ": " + finding.fix);
    Json entry;
    entry["name"] = finding.name;
    entry["state"] = state;
    entry["found"] = finding.found;
    entry["fix"] = finding.ok ? Json() : Json(finding.fix);
    list.push_back(std::move(entry));
  }
  if (common.json) fmt::print("{}", list.indented());
  return kDone;
}

}  // namespace

void add_doctor(CommandLine& line) {
  CLI::App* command =
      line.app.add_subcommand("doctor", "What this machine can run, and the fix where it cannot");
  command->footer(
      "Examples:\n"
      "  recallbench doctor\n"
      "  recallbench doctor --json");
  command->callback([&line] { line.action = [&line] { return doctor(line.common); }; });
}

}  // namespace recallbench
