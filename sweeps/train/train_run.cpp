#include "sweeps/train/train_run.h"

#include <algorithm>
#include <map>

#include "kernels/tensor/parallel.h"
#include "sweeps/train/population.h"

namespace recallbench {
namespace {

/// Members by where their checkpoints stand, in the order of these.
std::vector<std::vector<MemberState*>> by_place(std::vector<MemberState>& members) {
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<MemberState*>> places;
  for (MemberState& member : members)
    places[{member.at.epoch, member.at.batch}].push_back(&member);
  std::vector<std::vector<MemberState*>> groups;
  for (auto& [place, group] : places)
    groups.push_back(std::move(group));
  return groups;
}

void make_missing_data(const std::vector<TrainMember>& members, Preparation& prepared,
                       double& seconds) {
  const Stopwatch watch(seconds);
  for (const TrainMember& member : members) {
    auto& data = prepared.data[data_key(*member.config)];
    if (data) continue;
    const TrainHooks& hooks = member.hooks;
    data = std::make_shared<RunData>(
        cached_run_data(*member.config, hooks.threads, hooks.data_cache, hooks.stop_requested));
  }
}

/// What runs come to that are stopped before any of them has begun.
std::vector<RunResult> stopped_before(std::size_t runs) {
  RunResult result;
  result.status = "interrupted";
  result.reason = "stopped by a signal while its data were made";
  return std::vector<RunResult>(runs, result);
}

}  // namespace

bool same_shape(const RunConfig& a, const RunConfig& b) {
  const auto shape = [](RunConfig config) {
    config.train.lr = config.train.weight_decay = 0;
    // Under another seed shuffled batches come in another order.
    if (config.task.order == "sequential") config.seed = 0;
    return canonical_json(config);
  };
  return shape(a) == shape(b);
}

std::vector<RunResult> train_population(const std::vector<TrainMember>& members,
                                        Preparation prepared) {
  RunTiming timing;
  timing.ahead_s = prepared.ahead_s;
  timing.data_s = std::max(0.0, prepared.data_s - prepared.ahead_s);  // they were made first
  const Stopwatch total(timing.total_s,
                        prepared.began + std::chrono::duration_cast<Stopwatch::Clock::duration>(
                                             std::chrono::duration<double>(prepared.ahead_s)));
  set_threads(members.front().hooks.threads);
  try {
    make_missing_data(members, prepared, timing.data_s);
  } catch (const Stopped&) {
    return stopped_before(members.size());
  }
  std::vector<MemberState> states;
  for (const TrainMember& member : members) {
    MemberState state{&member,
                      prepared.data[data_key(*member.config)],
                      CheckpointFolder(member.hooks.checkpoint_directory, run_id(*member.config)),
                      {},
                      {}};
    state.checkpoints.load_position(state.at);
    if (member.hooks.on_resume) member.hooks.on_resume(state.at.epochs);
    states.push_back(std::move(state));
  }
  for (std::vector<MemberState*>& group : by_place(states))
    Population(std::move(group), prepared, timing, total).run();
  std::vector<RunResult> results;
  for (const MemberState& state : states)
    results.push_back(state.result);
  return results;
}

RunResult train_run(const RunConfig& config, const TrainHooks& hooks) {
  return train_population({{&config, hooks}})[0];
}

}  // namespace recallbench
