#include "sweeps/train/split_tally.h"

namespace recallbench {

void SplitTally::add_batch_loss(double loss) {
  loss_ += loss;
  ++batches_;
}

void SplitTally::add_examples(const float* correct, const float* weights, std::int64_t count,
                              std::int64_t labels) {
  for (std::int64_t i = 0; i < count; ++i) {
    double right = 0, asked = 0;
    for (std::int64_t k = i * labels; k < (i + 1) * labels; ++k) {
      asked += weights[k];
      right += weights[k] * correct[k];
    }
    of_segment_ += right / asked;
  }
}

void SplitTally::end_segment(const RunSegment& segment) {
  accuracy_ += of_segment_;
  sums_.examples += segment.data.size();
  sums_.labels += segment.data.num_labels();
  for (const Slice& slice : segment.slices) {
    auto& [sum, examples] = slices_[slice.key][slice.value];
    sum += of_segment_;
    examples += static_cast<double>(segment.data.size());
  }
  of_segment_ = 0;
}

SplitMetrics SplitTally::metrics() const {
  SplitMetrics metrics = sums_;
  metrics.accuracy = accuracy_ / static_cast<double>(sums_.examples);
  metrics.loss = loss_ / batches_;
  for (const auto& [key, values] : slices_)
    for (const auto& [value, sums] : values)
      metrics.slices[key][value] = sums.first / sums.second;
  return metrics;
}

}  // namespace recallbench
