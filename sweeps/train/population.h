#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "sweeps/train/checkpoint.h"
#include "sweeps/train/trainer.h"

namespace recallbench {

/// `precision` of a run, "auto" chosen already, as a trainer takes it.
Precision precision_of(const RunConfig& config);

/// One run while its population trains.
struct MemberState {
  const TrainMember* member;
  std::shared_ptr<const RunData> data;
  CheckpointFolder checkpoints;
  TrainPosition at;
  RunResult result;  ///< its status is empty while it trains

  const RunConfig& config() const { return *member->config; }
  const TrainHooks& hooks() const { return member->hooks; }
  bool trains() const { return result.status.empty(); }
  void diverge(const std::string& reason);
};

/// Trains members that stand at one place (epoch and batch) from there to their ends.
class Population {
 public:
  /// All members train; `timing` and `total` are those of the whole process.
  Population(std::vector<MemberState*> members, const Preparation& prepared, RunTiming& timing,
             const Stopwatch& total);
  void run();

 private:
  void build(const std::vector<MemberState*>& members, const Trainer* from);
  std::vector<MemberState*> training() const;
  void compact();
  bool train_epoch();
  bool take_losses(std::span<const double> losses);
  void show();
  void end_epoch();
  void save(const std::vector<MemberState*>& members);
  void interrupt();
  Index replica_of(const MemberState& member) const;
  void complete(const std::vector<MemberState*>& members, const std::string& reason);
  void end(MemberState& member);
  std::vector<std::size_t> order() const;
  double rate(const MemberState& member) const;
  bool early_stop(const MemberState& member) const;

  RunTiming timing_now() const;

  RunTiming& timing_;
  const Stopwatch& total_;
  std::vector<MemberState*> members_;  ///< by replica of the trainer
  std::unique_ptr<Trainer> trainer_;
  std::vector<BatchPlace> batches_, visit_;  ///< in the order of the data, and of this epoch
  std::int64_t epoch_ = 0, batch_ = 0;
  bool stop_ = false;
  std::optional<std::int64_t> state_bytes_;  ///< of every member; missing ones are counted once
  std::chrono::steady_clock::time_point last_saved_, shown_;
  double examples_ = 0, tokens_ = 0, shown_tokens_ = 0;
};

}  // namespace recallbench
