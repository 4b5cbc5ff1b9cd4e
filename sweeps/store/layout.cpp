#include "sweeps/store/layout.h"

#include <unistd.h>

#include "kernels/base/io/atomic_file.h"

namespace recallbench {

RunPaths run_paths(const std::string& results, const std::string& id) {
  return paths_in(results + "/runs/" + id);
}

RunPaths paths_in(const std::string& folder) {
  RunPaths paths;
  paths.folder = folder;
  paths.result = paths.folder + "/result.json";
  paths.timing = paths.folder + "/timing.json";
  paths.metrics = paths.folder + "/metrics.jsonl";
  paths.failure = paths.folder + "/failure.json";
  paths.checkpoint = paths.folder + "/checkpoint.safetensors";
  paths.checkpoint_before = paths.folder + "/checkpoint.before.safetensors";
  paths.log = paths.folder + "/run.log";
  paths.lock = paths.folder + "/.lock";
  return paths;
}

std::string manifest_path(const std::string& results) {
  return results + "/manifest.json";
}
std::string cache_path(const std::string& results) {
  return results + "/cache";
}

std::string summary_path(const std::string& results) {
  return results + "/summary.csv";
}

void prepare_results_folder(const std::string& results) {
  make_directories(results + "/runs");
  for (const std::string& folder : {results, results + "/runs"}) {
    const std::string probe = folder + "/.probe";
    publish(probe, "can this folder be written?\n");
    unlink(probe.c_str());
  }
}

}  // namespace recallbench
