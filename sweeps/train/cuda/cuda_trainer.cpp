#include "sweeps/train/cuda/cuda_trainer.h"

#include <algorithm>
#include <utility>

#include "kernels/adamw/adamw_cuda.h"
#include "kernels/cuda/captured.h"
#include "kernels/cuda/feed.h"
#include "kernels/cuda/readback.h"
#include "kernels/tensor/device_copy.h"
#include "sweeps/train/cuda/device_data.h"
#include "sweeps/train/split_tally.h"

namespace recallbench {
namespace {

// Steps after which losses are read back; two groups are under way at a time.
constexpr std::size_t kGroup = 32;

/// An array in the GPU's memory that is filled from the host.
template <class T>
class DeviceArray {
 public:
  void reserve(std::size_t count) { memory_.reserve(count * sizeof(T)); }
  void fill(const std::vector<T>& from) {
    reserve(from.size());
    copy_to_device(Device::cuda, memory_.data(), from.data(), from.size() * sizeof(T));
  }
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }

 private:
  Arena memory_{Device::cuda};
};

/// What one batch shape needs to run: its buffers, and the whole step as one graph.
struct Step {
  Arena memory{Device::cuda};
  BatchBuffers buffers{};
  std::unique_ptr<AdamwCuda> optimizer;  ///< none for evaluation
  std::unique_ptr<CapturedWork> work;
};

BatchBuffers lay_out(Arena& memory, Index replicas, Index examples, Index length, Index labels) {
  const std::size_t tokens = align_up(static_cast<std::size_t>(replicas * examples * length) * 4);
  const std::size_t places = align_up(static_cast<std::size_t>(replicas * examples * labels) * 4);
  memory.reserve(tokens + 3 * places);
  std::byte* const begin = memory.data();
  const auto ints = [&](std::size_t offset) {
    return reinterpret_cast<std::int32_t*>(begin + offset);
  };
  return {replicas,
          examples,
          length,
          labels,
          ints(0),
          ints(tokens),
          ints(tokens + places),
          reinterpret_cast<float*>(begin + tokens + 2 * places)};
}

class CudaTrainer : public Trainer {
 public:
  CudaTrainer(const ModelConfig& model, const std::vector<std::uint64_t>& seeds,
              const std::vector<const RunData*>& data, const Compute& compute, const Trainer* from)
      : Trainer(model, seeds, data, compute),
        device_data_(from != nullptr ? static_cast<const CudaTrainer*>(from)->device_data_
                                     : std::make_shared<DeviceData>(data)) {
    device_seeds_.fill(seeds);
    state_.reserve(1);
    rates_.reserve(seeds.size());
  }

  void train(std::span<const BatchPlace> places, std::span<const double> lr,
             std::span<const double> weight_decay, const AfterSteps& after) override;
  std::vector<SplitMetrics> evaluate(Split split, std::int64_t batch_size) override;

 private:
  Step& step_for(const Key& key);
  void capture(const Key& key, Step& step);
  void enqueue_model(Recorded& recording, const Step& step);
  void plan(Split split, std::span<const BatchPlace> places);
  void make_room(std::size_t steps, std::size_t correct);
  CudaCall call() const { return {cuda_stream(), compute_.precision, nullptr, nullptr}; }

  std::shared_ptr<const DeviceData> device_data_;
  DeviceArray<std::uint64_t> device_seeds_;
  DeviceArray<StepState> state_;
  DeviceArray<PlannedBatch> plan_;     ///< [steps, R]
  DeviceArray<AdamwRates> all_rates_;  ///< [steps, R]
  DeviceArray<AdamwRates> rates_;      ///< [R], of the current step
  std::unique_ptr<Readback> losses_;   ///< [steps, R]
  std::unique_ptr<Readback> correct_;  ///< [batches, R, M]
  std::map<Key, std::unique_ptr<Step>> work_;
  std::size_t planned_steps_ = 0;
  const std::byte* captured_for_ = nullptr;  ///< the arena when work_ was captured
};

/// The arrays that captured graphs point to; where one must grow, those graphs are captured again.
void CudaTrainer::make_room(std::size_t steps, std::size_t correct) {
  const auto count = static_cast<std::size_t>(replicas());
  if (steps > planned_steps_) {
    work_.clear();
    planned_steps_ = steps;
    plan_.reserve(planned_steps_ * count);
    all_rates_.reserve(planned_steps_ * count);
    losses_ = std::make_unique<Readback>(planned_steps_ * count);
  }
  if (correct > (correct_ ? correct_->size() : 0)) {
    std::erase_if(work_, [](const auto& entry) { return !entry.first.training; });
    correct_ = std::make_unique<Readback>(correct);
  }
}

void CudaTrainer::plan(Split split, std::span<const BatchPlace> places) {
  std::vector<PlannedBatch> batches;
  for (const BatchPlace& place : places)
    for (Index r = 0; r < replicas(); ++r)
      batches.push_back(
          device_data_->at(segments(split, r)[place.segment], place.first, place.count));
  plan_.fill(batches);
  const StepState state{static_cast<std::uint32_t>(steps_), 0};
  copy_to_device(Device::cuda, state_.data(), &state, sizeof(state));
}

void CudaTrainer::enqueue_model(Recorded& recording, const Step& step) {
  const BatchBuffers& b = step.buffers;
  recording.graph.forward({.examples = b.examples,
                           .length = b.length,
                           .labels = b.labels,
                           .tokens = b.tokens,
                           .positions = b.positions,
                           .targets = b.targets,
                           .weights = b.weights,
                           .step = 0,
                           .seeds = seeds_,
                           .device_step = &state_.data()->step,
                           .device_seeds = device_seeds_.data()});
  if (recording.graph.training()) recording.graph.backward();
}

Step& CudaTrainer::step_for(const Key& key) {
  Recorded& recording = recorded(key);
  if (std::exchange(captured_for_, arena_.data()) != arena_.data())
    work_.clear();  // their memory has moved
  std::unique_ptr<Step>& slot = work_[key];
  if (slot) return *slot;
  slot = std::make_unique<Step>();
  slot->buffers = lay_out(slot->memory, replicas(), key.examples, key.length, key.labels);
  if (key.training)
    slot->optimizer = std::make_unique<AdamwCuda>(model_.parameters(), recording.updated);
  enqueue_model(recording, *slot);  // once outside, so that libraries make what they need
  capture(key, *slot);
  return *slot;
}

void CudaTrainer::capture(const Key& key, Step& step) {
  Recorded& recording = recorded(key);
  const auto row_numbers = static_cast<Index>(sizeof(AdamwRates) / sizeof(float)) * replicas();
  step.work = std::make_unique<CapturedWork>([&] {
    feed_batch_cuda(call(), plan_.data(), state_.data(), step.buffers,
                    reinterpret_cast<const float*>(all_rates_.data()),
                    key.training ? row_numbers : 0, reinterpret_cast<float*>(rates_.data()));
    enqueue_model(recording, step);
    if (key.training)
      step.optimizer->step(call(), rates_.data());
    else
      keep_correct_cuda(call(), state_.data(), recording.graph.value<float>(recording.out.correct),
                        correct_->device());
    end_step_cuda(call(), state_.data(), recording.graph.value<float>(recording.out.loss),
                  losses_->device(), key.training);
  });
}

void CudaTrainer::train(std::span<const BatchPlace> places, std::span<const double> lr,
                        std::span<const double> weight_decay, const AfterSteps& after) {
  const auto count = static_cast<std::size_t>(replicas());
  make_room(places.size(), 0);
  for (const BatchPlace& place : places)  // all before the first, for memory may move
    recorded(key_of(Split::train, place.segment, place.size));
  plan(Split::train, places);
  std::vector<AdamwRates> rates;
  for (std::size_t i = 0; i < places.size(); ++i)
    for (std::size_t r = 0; r < count; ++r)
      rates.push_back(
          adamw_rates(lr[r], weight_decay[r], steps_ + static_cast<std::int64_t>(i) + 1));
  all_rates_.fill(rates);
  bool more = true;
  std::size_t told = 0, queued = 0;
  std::vector<double> losses;
  const auto tell = [&](std::size_t group) {
    losses_->wait(static_cast<int>(group % 2));
    const std::size_t end = std::min((group + 1) * kGroup, queued);
    const auto numbers = losses_->host().subspan(told * count, (end - told) * count);
    losses.assign(numbers.begin(), numbers.end());
    steps_ += static_cast<std::int64_t>(end - told);
    told = end;
    more = after(losses) && more;
  };
  while (more && queued < places.size()) {
    const std::size_t first = queued, end = std::min(queued + kGroup, places.size());
    for (; queued < end; ++queued)
      step_for(key_of(Split::train, places[queued].segment, places[queued].size)).work->launch();
    losses_->enqueue(first * count, (end - first) * count, static_cast<int>(first / kGroup % 2));
    if (first > 0) tell(first / kGroup - 1);
  }
  while (told < queued)
    tell(told / kGroup);
}

std::vector<SplitMetrics> CudaTrainer::evaluate(Split split, std::int64_t batch_size) {
  const auto count = static_cast<std::size_t>(replicas());
  std::vector<SplitTally> tallies(count);
  struct Pass {
    std::vector<BatchPlace> places;
    std::int64_t size, labels;
  };
  std::vector<Pass> passes;
  std::size_t steps = 0, correct = 0;
  for (std::size_t s = 0; s < segments(split, 0).size(); ++s) {
    const Dataset& data = segments(split, 0)[s].data;
    Pass pass{{}, std::min(batch_size, data.size()), data.shape().labels_per_example};
    for (std::int64_t first = 0; first < data.size(); first += pass.size)
      pass.places.push_back({s, first, std::min(pass.size, data.size() - first), pass.size});
    recorded(key_of(split, s, pass.size));
    steps = std::max(steps, pass.places.size());
    correct = std::max(
        correct, pass.places.size() * count * static_cast<std::size_t>(pass.size * pass.labels));
    passes.push_back(std::move(pass));
  }
  make_room(steps, correct);
  for (std::size_t s = 0; s < passes.size(); ++s) {
    const Pass& pass = passes[s];
    const Step& step = step_for(key_of(split, s, pass.size));
    plan(split, pass.places);
    for (std::size_t i = 0; i < pass.places.size(); ++i)
      step.work->launch();
    const auto rows = static_cast<std::size_t>(pass.size * pass.labels);
    losses_->enqueue(0, pass.places.size() * count, 0);
    correct_->enqueue(0, pass.places.size() * count * rows, 1);
    losses_->wait(0);
    correct_->wait(1);
    std::vector<float> weights(rows);
    for (std::size_t i = 0; i < pass.places.size(); ++i)
      for (std::size_t r = 0; r < count; ++r) {
        const RunSegment& segment = segments(split, static_cast<Index>(r))[s];
        const BatchPlace& place = pass.places[i];
        segment.data.copy_batch(place.first, place.count, nullptr, nullptr, nullptr,
                                weights.data());
        const std::size_t at = i * count + r;
        tallies[r].add_examples(correct_->host().data() + at * rows, weights.data(), place.count,
                                pass.labels);
        tallies[r].add_batch_loss(losses_->host()[at]);
      }
    for (std::size_t r = 0; r < count; ++r)
      tallies[r].end_segment(segments(split, static_cast<Index>(r))[s]);
  }
  std::vector<SplitMetrics> metrics;
  for (const SplitTally& tally : tallies)
    metrics.push_back(tally.metrics());
  return metrics;
}

}  // namespace

std::unique_ptr<Trainer> make_cuda_trainer(const ModelConfig& model,
                                           const std::vector<std::uint64_t>& seeds,
                                           const std::vector<const RunData*>& data,
                                           const Compute& compute, const Trainer* from) {
  return std::make_unique<CudaTrainer>(model, seeds, data, compute, from);
}

}  // namespace recallbench
