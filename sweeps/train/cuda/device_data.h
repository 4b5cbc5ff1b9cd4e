#pragma once

#include <map>
#include <vector>

#include "kernels/cuda/feed.h"
#include "kernels/tensor/arena.h"
#include "sweeps/train/run_data.h"

namespace recallbench {

/// The examples of all segments that a population uses, in the GPU's memory; data that replicas
/// share are there once.
class DeviceData {
 public:
  explicit DeviceData(const std::vector<const RunData*>& data);
  /// Examples [first, first + count) of a segment.
  PlannedBatch at(const RunSegment& segment, std::int64_t first, std::int64_t count) const;

 private:
  struct Place {
    Arena memory{Device::cuda};
    std::int64_t length, labels;
    PlannedBatch begin;
  };
  void add(const RunSegment& segment);

  std::map<const RunSegment*, Place> places_;
};

}  // namespace recallbench
