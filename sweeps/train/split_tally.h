#pragma once

#include <map>
#include <string>
#include <utility>

#include "sweeps/train/run_data.h"
#include "sweeps/train/train_run.h"

namespace recallbench {

/// Sums up the metrics of one replica over a split, segment after segment.
class SplitTally {
 public:
  void add_batch_loss(double loss);
  /// correct and weights [count, labels] of some examples.
  void add_examples(const float* correct, const float* weights, std::int64_t count,
                    std::int64_t labels);
  /// The examples added since the last segment were all of `segment`.
  void end_segment(const RunSegment& segment);
  SplitMetrics metrics() const;

 private:
  SplitMetrics sums_;
  std::map<std::string, std::map<std::int64_t, std::pair<double, double>>> slices_;
  double accuracy_ = 0, of_segment_ = 0, loss_ = 0, batches_ = 0;
};

}  // namespace recallbench
