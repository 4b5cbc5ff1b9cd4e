#include "sweeps/train/train_run.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/base/philox.h"
#include "kernels/tensor/parallel.h"
#include "sweeps/train/checkpoint.h"
#include "sweeps/train/trainer.h"

namespace recallbench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kCheckpointEvery_s = 30;
constexpr double kProgressEvery_s = 0.2;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Adds the seconds of its own life to a total.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total) {}
  ~Stopwatch() { total_ += since(start_); }

 private:
  double& total_;
  Clock::time_point start_ = Clock::now();
};

struct BatchPlace {
  const Dataset* data;
  std::int64_t first, count, size;
};

/// One run from its first (or resumed) step to its result.
class Run {
 public:
  Run(const RunConfig& config, const TrainHooks& hooks, RunTiming& timing)
      : config_(config),
        hooks_(hooks),
        timing_(timing),
        data_(make_data()),
        trainer_(config.model, config.seed),
        checkpoints_(hooks.checkpoint_directory, run_id(config)) {
    for (const RunSegment& segment : data_.train) {
      const std::int64_t size = std::min(config.task.train_batch_size, segment.data.size());
      for (std::int64_t first = 0; first < segment.data.size(); first += size)
        batches_.push_back(
            {&segment.data, first, std::min(size, segment.data.size() - first), size});
    }
  }

  RunResult run(std::vector<EpochMetrics>* resumed) {
    if (checkpoints_.load(trainer_.model().parameters(), at_)) trainer_.set_steps(at_.steps);
    if (resumed != nullptr) *resumed = at_.epochs;
    last_saved_ = Clock::now();
    bool stop = !at_.epochs.empty() && early_stop(at_.epochs.back().valid);
    result_.reason = stop ? "early_stopping" : "max_epochs";
    while (!stop && at_.epoch < config_.train.max_epochs) {
      if (!train_epoch()) return finish();
      stop = end_epoch();
      if (result_.status == "diverged") return finish();
    }
    result_.status = "done";
    result_.valid = at_.epochs.back().valid;
    if (config_.model.zoology) {
      result_.test = result_.valid;
    } else {
      const Stopwatch watch(timing_.eval_s);
      result_.test = trainer_.evaluate(data_.test, config_.task.test_batch_size);
    }
    return finish();
  }

 private:
  RunData make_data() {
    const Stopwatch watch(timing_.data_s);
    return make_run_data(config_, hooks_.threads);
  }

  double rate() const {
    const double progress =
        static_cast<double>(at_.epoch) / static_cast<double>(config_.train.max_epochs);
    return config_.train.lr * (1 + std::cos(std::numbers::pi * progress)) / 2;
  }

  /// The order in which this epoch visits the batches.
  std::vector<std::size_t> order() const {
    std::vector<std::size_t> order(batches_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (config_.task.order == "shuffle_batches") {
      RandomStream random(config_.seed, Purpose::data_order, static_cast<std::uint32_t>(at_.epoch),
                          0);
      for (std::size_t i = order.size(); i > 1; --i)
        std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
    }
    return order;
  }

  /// False if the run ends here: diverged or interrupted.
  bool train_epoch() {
    const Stopwatch watch(timing_.train_s);
    const std::vector<std::size_t> visit = order();
    const double lr = rate();
    const auto total = static_cast<std::int64_t>(visit.size());
    Clock::time_point shown = Clock::now();
    double tokens = 0;
    for (; at_.batch < total; ++at_.batch) {
      if (hooks_.stop_requested && hooks_.stop_requested()) {
        checkpoints_.save(trainer_.model().parameters(), at_);
        result_.status = "interrupted";
        result_.reason = fmt::format("stopped by a signal after step {}", at_.steps);
        return false;
      }
      const BatchPlace& place = batches_[visit[static_cast<std::size_t>(at_.batch)]];
      const double loss = trainer_.train_batch(*place.data, place.first, place.count, place.size,
                                               lr, config_.train.weight_decay);
      at_.steps = trainer_.steps();
      if (!std::isfinite(loss)) {
        diverge(fmt::format("the training loss was {} at step {}", loss, at_.steps));
        return false;
      }
      at_.loss_sum += loss;
      examples_ += static_cast<double>(place.count);
      tokens += static_cast<double>(place.count * place.data->shape().input_seq_len);
      if (hooks_.on_step && since(shown) >= kProgressEvery_s) {
        hooks_.on_step({at_.epoch, config_.train.max_epochs, at_.batch + 1, total, loss,
                        tokens / since(shown)});
        shown = Clock::now();
        tokens_ += tokens;
        tokens = 0;
      }
    }
    tokens_ += tokens;
    return true;
  }

  void diverge(const std::string& reason) {
    result_.status = "diverged";
    result_.reason = reason;
    for (SplitMetrics* metrics : {&result_.valid, &result_.test})
      metrics->loss = metrics->accuracy = std::nan("");
  }

  bool early_stop(const SplitMetrics& valid) const {
    if (!config_.train.early_stopping) return false;
    const EarlyStopping& rule = *config_.train.early_stopping;
    return rule.metric == "accuracy" ? valid.accuracy > rule.threshold
                                     : valid.loss < rule.threshold;
  }

  /// Validates; true if training ends early.
  bool end_epoch() {
    EpochMetrics epoch{
        at_.epoch, at_.steps, rate(), at_.loss_sum / static_cast<double>(batches_.size()), {}};
    {
      const Stopwatch watch(timing_.eval_s);
      epoch.valid = trainer_.evaluate(config_.model.zoology ? data_.test : data_.valid,
                                      config_.task.test_batch_size);
    }
    if (!std::isfinite(epoch.valid.loss)) {
      diverge(fmt::format("the validation loss was {} at step {}", epoch.valid.loss, at_.steps));
      return true;
    }
    at_.epochs.push_back(epoch);
    ++at_.epoch;
    at_.batch = 0;
    at_.loss_sum = 0;
    if (since(last_saved_) >= kCheckpointEvery_s) {
      checkpoints_.save(trainer_.model().parameters(), at_);
      last_saved_ = Clock::now();
    }
    if (hooks_.on_epoch) hooks_.on_epoch(epoch);
    const bool stop = early_stop(epoch.valid);
    if (stop) result_.reason = "early_stopping";
    return stop;
  }

  RunResult finish() {
    result_.epochs = static_cast<std::int64_t>(at_.epochs.size());
    result_.steps = at_.steps;
    timing_.examples_per_s = timing_.train_s > 0 ? examples_ / timing_.train_s : 0;
    timing_.tokens_per_s = timing_.train_s > 0 ? tokens_ / timing_.train_s : 0;
    if (result_.status == "interrupted") return result_;
    result_.chance = chance_of(data_.test);
    result_.num_parameters = trainer_.model().parameters().trainable_numbers();
    result_.state_length = longest_length(data_.test);
    result_.state_bytes = trainer_.model().measured_state_bytes(result_.state_length);
    result_.published_state_bytes = trainer_.model().published_state_bytes(result_.state_length);
    if (result_.status == "done") checkpoints_.save_final(trainer_.model().parameters());
    return result_;
  }

  const RunConfig& config_;
  const TrainHooks& hooks_;
  RunTiming& timing_;
  RunData data_;
  Trainer trainer_;
  CheckpointFolder checkpoints_;
  std::vector<BatchPlace> batches_;
  TrainPosition at_;
  RunResult result_;
  Clock::time_point last_saved_;
  double examples_ = 0, tokens_ = 0;
};

}  // namespace

RunResult train_run(const RunConfig& config, const TrainHooks& hooks, RunTiming* timing,
                    std::vector<EpochMetrics>* resumed_epochs) {
  RunTiming local;
  RunTiming& times = timing != nullptr ? *timing : local;
  times = {};
  set_threads(hooks.threads);
  RunResult result;
  {
    const Stopwatch watch(times.total_s);
    Run run(config, hooks, times);
    result = run.run(resumed_epochs);
  }
  times.setup_s = times.total_s - times.data_s - times.train_s - times.eval_s;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  times.peak_rss_bytes = usage.ru_maxrss * std::int64_t{1024};
  return result;
}

}  // namespace recallbench
