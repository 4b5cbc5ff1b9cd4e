#include "sweeps/run/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>

namespace recallbench {
namespace {

int affinity_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Fails on machines with more processors than a cpu_set_t holds.
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

/// Cores by "QUOTA PERIOD" of cpu.max; no bound where there is none.
double quota_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || !(period > 0)) return 1e9;
  char* end = nullptr;
  const double microseconds = std::strtod(quota.c_str(), &end);
  return *end == '\0' && microseconds > 0 ? microseconds / period : 1e9;
}

}  // namespace

int usable_cores() {
  const double cores = std::min<double>(affinity_cores(), std::ceil(quota_cores()));
  return std::max(1, static_cast<int>(cores));
}

}  // namespace recallbench
