#pragma once

#include <string>

namespace recallbench {

/// Where the files of one run lie.
struct RunPaths {
  std::string folder;             ///< RESULTS/runs/r<hash>; also the trainer's checkpoint folder
  std::string result;             ///< result.json: there if and only if the run has ended
  std::string timing;             ///< timing.json
  std::string metrics;            ///< metrics.jsonl
  std::string failure;            ///< failure.json: why the last attempt failed
  std::string checkpoint;         ///< checkpoint.safetensors
  std::string checkpoint_before;  ///< checkpoint.before.safetensors: alone while one is written
  std::string log;                ///< run.log: standard output and error of its processes
  std::string lock;               ///< .lock: held by the process that computes the run
};

/// Of run `id` in the folder `results`.
RunPaths run_paths(const std::string& results, const std::string& id);

/// Of the run whose folder is `folder`.
RunPaths paths_in(const std::string& folder);

/// RESULTS/manifest.json, RESULTS/summary.csv, and RESULTS/cache, which is gone once all is done.
std::string manifest_path(const std::string& results);
std::string summary_path(const std::string& results);
std::string cache_path(const std::string& results);

/// Makes the results folder and tries a write in it: before any training. Throws Error(io).
void prepare_results_folder(const std::string& results);

}  // namespace recallbench
