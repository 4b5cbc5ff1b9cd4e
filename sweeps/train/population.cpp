#include "sweeps/train/population.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/base/philox.h"

namespace recallbench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kCheckpointEvery_s = 30;
constexpr double kProgressEvery_s = 0.2;
// Replicas that have stopped train on unseen until at least this share of all has.
constexpr double kCompactShare = 0.25;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Precision precision_of(const RunConfig& config) {
  return config.precision == "tf32"   ? Precision::tf32
         : config.precision == "bf16" ? Precision::bf16
                                      : Precision::fp32;
}

void MemberState::diverge(const std::string& reason) {
  result.status = "diverged";
  result.reason = reason;
  for (SplitMetrics* metrics : {&result.valid, &result.test})
    metrics->loss = metrics->accuracy = std::nan("");
}

Population::Population(std::vector<MemberState*> members, const Preparation& prepared,
                       RunTiming& timing, const Stopwatch& total)
    : timing_(timing), total_(total), state_bytes_(prepared.state_bytes) {
  const MemberState& first = *members.front();
  epoch_ = first.at.epoch;
  batch_ = first.at.batch;
  const auto& train = first.data->train;
  for (std::size_t s = 0; s < train.size(); ++s) {
    const std::int64_t examples = train[s].data.size();
    const std::int64_t size = std::min(first.config().task.train_batch_size, examples);
    for (std::int64_t begin = 0; begin < examples; begin += size)
      batches_.push_back({s, begin, std::min(size, examples - begin), size});
  }
  build(members, nullptr);
  if (first.at.steps == 0) trainer_->initialise(prepared.initial_values);
  for (Index r = 0; r < trainer_->replicas(); ++r)
    if (first.at.steps > 0)
      members_[static_cast<std::size_t>(r)]->checkpoints.load_weights(
          trainer_->model().parameters(), r);
}

/// Makes a trainer for `members`, its parameters zero; `from` is one of more members, or nullptr.
void Population::build(const std::vector<MemberState*>& members, const Trainer* from) {
  const MemberState& first = *members.front();
  std::vector<std::uint64_t> seeds;
  std::vector<const RunData*> data;
  for (const MemberState* member : members) {
    seeds.push_back(member->config().seed);
    data.push_back(member->data.get());
  }
  trainer_ = Trainer::make(first.config().model, seeds, data,
                           {first.hooks().device, precision_of(first.config())}, from);
  trainer_->set_steps(first.at.steps);
  members_ = members;
}

std::vector<MemberState*> Population::training() const {
  std::vector<MemberState*> still;
  std::copy_if(members_.begin(), members_.end(), std::back_inserter(still),
               [](const MemberState* member) { return member->trains(); });
  return still;
}

/// Leaves replicas that have stopped behind, where that saves enough.
void Population::compact() {
  const std::vector<MemberState*> still = training();
  const auto stopped = static_cast<double>(members_.size() - still.size());
  if (still.empty() || stopped < kCompactShare * static_cast<double>(members_.size())) return;
  const std::vector<MemberState*> before = members_;
  const std::unique_ptr<Trainer> from = std::move(trainer_);
  build(still, from.get());
  for (std::size_t to = 0; to < still.size(); ++to) {
    const auto r = std::find(before.begin(), before.end(), still[to]) - before.begin();
    for (const Slot slot : {Slot::value, Slot::first_moment, Slot::second_moment})
      trainer_->model().parameters().set_slab(slot, static_cast<Index>(to),
                                              from->model().parameters().get_slab(slot, r));
  }
}

void Population::run() {
  last_saved_ = Clock::now();
  std::vector<MemberState*> stopped;  // resumed where there is nothing left to do
  std::copy_if(members_.begin(), members_.end(), std::back_inserter(stopped),
               [this](const MemberState* member) {
                 return !member->at.epochs.empty() && early_stop(*member);
               });
  complete(stopped, "early_stopping");
  const std::int64_t epochs = members_.front()->config().train.max_epochs;
  while (!training().empty() && epoch_ < epochs) {
    compact();
    if (!train_epoch()) return interrupt();
    end_epoch();
  }
  complete(training(), "max_epochs");
}

/// Durations so far, of all members together.
RunTiming Population::timing_now() const {
  RunTiming timing = timing_;
  timing.total_s = total_.seconds();
  timing.setup_s = timing.total_s - timing.data_s - timing.train_s - timing.eval_s;
  timing.examples_per_s = timing.train_s > 0 ? examples_ / timing.train_s : 0;
  timing.tokens_per_s = timing.train_s > 0 ? tokens_ / timing.train_s : 0;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  timing.peak_rss_bytes = usage.ru_maxrss * std::int64_t{1024};
  return timing;
}

double Population::rate(const MemberState& member) const {
  const TrainConfig& train = member.config().train;
  const double progress = static_cast<double>(epoch_) / static_cast<double>(train.max_epochs);
  return train.lr * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

/// The order in which this epoch visits the batches. Members whose orders would differ are not of
/// one shape.
std::vector<std::size_t> Population::order() const {
  const RunConfig& config = members_.front()->config();
  std::vector<std::size_t> order(batches_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (config.task.order == "shuffle_batches") {
    RandomStream random(config.seed, Purpose::data_order, static_cast<std::uint32_t>(epoch_), 0);
    for (std::size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  }
  return order;
}

/// False if the epoch was interrupted.
bool Population::train_epoch() {
  const Stopwatch watch(timing_.train_s);
  visit_.clear();
  for (const std::size_t i : order())
    visit_.push_back(batches_[i]);
  std::vector<double> lr, decay;
  for (const MemberState* member : members_) {
    lr.push_back(rate(*member));
    decay.push_back(member->config().train.weight_decay);
  }
  shown_ = Clock::now();
  stop_ = false;
  const auto asked = [this] {
    return std::any_of(members_.begin(), members_.end(), [](const MemberState* member) {
      return member->hooks().stop_requested && member->hooks().stop_requested();
    });
  };
  if (asked()) return false;
  trainer_->train(std::span(visit_).subspan(static_cast<std::size_t>(batch_)), lr, decay,
                  [&](std::span<const double> losses) {
                    const bool more = take_losses(losses);
                    const bool done = batch_ == static_cast<std::int64_t>(visit_.size());
                    stop_ = stop_ || (!done && asked());
                    return more && !stop_;
                  });
  return !stop_ || training().empty() || batch_ == static_cast<std::int64_t>(visit_.size());
}

/// The losses [steps, R] of the next steps; false once nobody trains any more.
bool Population::take_losses(std::span<const double> losses) {
  for (std::size_t first = 0; first < losses.size(); first += members_.size()) {
    const BatchPlace& place = visit_[static_cast<std::size_t>(batch_)];
    const std::int64_t length =
        members_.front()->data->train[place.segment].data.shape().input_seq_len;
    ++batch_;
    for (std::size_t r = 0; r < members_.size(); ++r) {
      MemberState& member = *members_[r];
      if (!member.trains()) continue;
      const double loss = losses[first + r];
      ++member.at.steps;
      member.at.batch = batch_;
      if (!std::isfinite(loss)) {
        member.diverge(fmt::format("the training loss was {} at step {}", loss, member.at.steps));
        end(member);
        continue;
      }
      member.at.loss_sum += loss;
      examples_ += static_cast<double>(place.count);
      tokens_ += static_cast<double>(place.count * length);
    }
    show();
  }
  return !training().empty();
}

void Population::show() {
  const double seconds = since(shown_);
  if (seconds < kProgressEvery_s) return;
  const double each = (tokens_ - shown_tokens_) / seconds / static_cast<double>(members_.size());
  shown_ = Clock::now();
  shown_tokens_ = tokens_;
  for (const MemberState* member : training())
    if (member->hooks().on_step)
      member->hooks().on_step({epoch_, member->config().train.max_epochs, batch_,
                               static_cast<std::int64_t>(batches_.size()), each});
}

bool Population::early_stop(const MemberState& member) const {
  if (!member.config().train.early_stopping) return false;
  const EarlyStopping& rule = *member.config().train.early_stopping;
  const SplitMetrics& valid = member.at.epochs.back().valid;
  return rule.metric == "accuracy" ? valid.accuracy > rule.threshold : valid.loss < rule.threshold;
}

/// Validates, and ends the runs that stop here.
void Population::end_epoch() {
  if (training().empty()) return;
  std::vector<SplitMetrics> valid;
  {
    const Stopwatch watch(timing_.eval_s);
    const RunConfig& config = members_.front()->config();
    valid = trainer_->evaluate(config.model.zoology ? Split::test : Split::valid,
                               config.task.test_batch_size);
  }
  std::vector<MemberState*> stopping;
  for (std::size_t r = 0; r < members_.size(); ++r) {
    MemberState& member = *members_[r];
    if (!member.trains()) continue;
    TrainPosition& at = member.at;
    if (!std::isfinite(valid[r].loss)) {
      member.diverge(fmt::format("the validation loss was {} at step {}", valid[r].loss, at.steps));
      end(member);
      continue;
    }
    at.epochs.push_back({epoch_, at.steps, rate(member),
                         at.loss_sum / static_cast<double>(batches_.size()), valid[r]});
    at.epoch = epoch_ + 1;
    at.batch = 0;
    at.loss_sum = 0;
    if (early_stop(member)) stopping.push_back(&member);
  }
  ++epoch_;
  batch_ = 0;
  if (since(last_saved_) >= kCheckpointEvery_s) save(training());
  for (const MemberState* member : training())
    if (member->hooks().on_epoch) member->hooks().on_epoch(member->at.epochs.back());
  complete(stopping, "early_stopping");
}

void Population::save(const std::vector<MemberState*>& members) {
  for (MemberState* member : members)
    member->checkpoints.save(trainer_->model().parameters(), replica_of(*member), member->at);
  last_saved_ = Clock::now();
}

void Population::interrupt() {
  save(training());
  for (MemberState* member : training()) {
    member->result.status = "interrupted";
    member->result.reason = fmt::format("stopped by a signal after step {}", member->at.steps);
    member->result.steps = member->at.steps;
    member->result.epochs = static_cast<std::int64_t>(member->at.epochs.size());
  }
}

Index Population::replica_of(const MemberState& member) const {
  return std::find(members_.begin(), members_.end(), &member) - members_.begin();
}

/// Tests runs that have trained to their ends, all by one evaluation: it takes what it takes for
/// every replica, however many of them are asked for.
void Population::complete(const std::vector<MemberState*>& members, const std::string& reason) {
  if (members.empty()) return;
  const RunConfig& config = members_.front()->config();
  std::vector<SplitMetrics> test;  // none under compat, where it is what validation was
  if (!config.model.zoology) {
    const Stopwatch watch(timing_.eval_s);
    test = trainer_->evaluate(Split::test, config.task.test_batch_size);
  }
  for (MemberState* member : members) {
    const Index replica = replica_of(*member);
    RunResult& result = member->result;
    result.status = "done";
    result.reason = reason;
    result.valid = member->at.epochs.back().valid;
    result.test = test.empty() ? result.valid : test[static_cast<std::size_t>(replica)];
    member->checkpoints.save_final(trainer_->model().parameters(), replica);
    end(*member);
  }
}

/// Fills in the rest of the result of a run that is done or has diverged, and reports it.
void Population::end(MemberState& member) {
  RunResult& result = member.result;
  result.epochs = static_cast<std::int64_t>(member.at.epochs.size());
  result.steps = member.at.steps;
  result.chance = chance_of(member.data->test);
  result.num_parameters = trainer_->model().parameters().trainable_numbers();
  result.state_length = longest_length(member.data->test);
  if (!state_bytes_) state_bytes_ = trainer_->model().measured_state_bytes(result.state_length);
  result.state_bytes = *state_bytes_;
  result.published_state_bytes = trainer_->model().published_state_bytes(result.state_length);
  if (member.hooks().on_end) member.hooks().on_end(result, timing_now());
  if (result.status == "done") member.checkpoints.drop_resumable();
}

}  // namespace recallbench
