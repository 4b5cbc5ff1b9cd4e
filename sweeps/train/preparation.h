#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sweeps/train/run_data.h"
#include "sweeps/train/stopwatch.h"

namespace recallbench {

/// What a population needs and no GPU computes: made ahead, while another population trains there,
/// or when it is asked for. What is missing changes no result.
struct Preparation {
  std::map<std::string, std::shared_ptr<const RunData>> data;  ///< by data_key
  /// The slab of a replica's parameters, by seed.
  std::map<std::uint64_t, std::vector<float>> initial_values;
  std::optional<std::int64_t> state_bytes;  ///< of a decoder at the longest test length
  Stopwatch::Clock::time_point began = Stopwatch::Clock::now();
  double data_s = 0;   ///< spent on `data`
  double ahead_s = 0;  ///< from `began`, in which the device was another's
};

/// Prepares runs of one shape; leaves out what is left once `stop_requested` says so.
Preparation prepare_population(const std::vector<RunConfig>& configs, int threads,
                               const std::string& data_cache, const StopRequested& stop_requested);

}  // namespace recallbench
