#include "sweeps/run/driver.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <deque>

#include "kernels/base/io/atomic_file.h"
#include "sweeps/run/children.h"
#include "sweeps/run/exit_code.h"
#include "sweeps/run/ledger.h"
#include "sweeps/run/schedule.h"
#include "sweeps/run/signals.h"
#include "sweeps/run/turn.h"
#include "sweeps/run/waiting.h"
#include "sweeps/run/worker.h"
#include "sweeps/store/labels.h"
#include "sweeps/store/layout.h"
#include "sweeps/store/status.h"

namespace recallbench {
namespace {

constexpr double kRepeatSeconds = 0.5;  // a signal sent to process and group comes twice
constexpr double kElsewherePeriod = 1;  // s, between looks at runs that others compute

/// The state of one call of run_all: every run is in one of waiting_, elsewhere_ and running_, or
/// entered in ledger_.
class Driver {
 public:
  Driver(const Manifest& manifest, const DriverOptions& options, Progress& progress)
      : options_(options), progress_(progress), ledger_(options.results, progress) {
    collect_jobs(manifest);
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  /// Only after an error are there children left: they save what they have.
  ~Driver();

  SweepOutcome run();

 private:
  void collect_jobs(const Manifest& manifest);
  void start_waiting();
  bool settle_without_training(const Job& job);
  std::optional<Group> next_group(std::optional<Place>& place);
  int threads_for_child() const;
  void start(const Group& jobs, const Place& place);
  void begin_turn(int key);
  void pass_turns();
  void look_elsewhere();
  void wait_for_news();
  int poll_timeout() const;
  void hear(int key, Running& running);
  void handle_signals();
  void stop(int signal);
  void reap();
  void finish(const Running& running, const ChildEnd& end);
  void put_back(const Running& running, const ChildEnd& end);
  void fail_or_retry(const Running& running, const ChildEnd& end, const Group& left);
  void update_progress();
  int free_cores() const;

  const DriverOptions& options_;
  Progress& progress_;
  Ledger ledger_;
  SweepOutcome& outcome_ = ledger_.outcome;
  SignalGuard signals_;
  std::deque<Job> jobs_;               // addresses stay
  Waiting waiting_;                    // longest first
  std::vector<const Job*> elsewhere_;  // computed by other processes
  Children running_;
  int next_key_ = 0;
  double next_look_ = 0;
  double stopped_at_ = 0;
  bool stopping_ = false;
};

void Driver::collect_jobs(const Manifest& manifest) {
  const RunLabels labels = make_labels(manifest.runs);
  std::vector<double> work;
  for (std::size_t i = 0; i < manifest.runs.size(); ++i) {
    const RunConfig& config = manifest.runs[i];
    const std::string id = run_id(config);
    if (ledger_.enter_earlier(id, labels.run[i])) continue;
    work.push_back(estimated_work(config));
    ledger_.work_left += work.back();
    jobs_.push_back({&config, id, labels.run[i], work.back()});
  }
  Group longest;
  for (const std::size_t i : longest_first(work))
    longest.push_back(&jobs_[i]);
  waiting_ = Waiting(make_groups(longest, options_.population));
  outcome_.counts.total = static_cast<std::int64_t>(manifest.runs.size());
}

Driver::~Driver() {
  stop_children(running_);
  for (const auto& [key, running] : running_)
    waitpid(running.child.pid, nullptr, 0);
}

SweepOutcome Driver::run() {
  progress_.begin(outcome_.counts, ledger_.work_left, monotonic_seconds());
  while (true) {
    if (!stopping_) start_waiting();
    if (!stopping_) look_elsewhere();
    const bool more = !stopping_ && (!waiting_.empty() || !elsewhere_.empty());
    if (running_.empty() && !more) break;
    update_progress();
    wait_for_news();
    handle_signals();
    for (auto& [key, running] : running_) {
      hear(key, running);
      enforce_timeout(running, options_.run_timeout_s);
    }
    reap();
  }
  update_progress();
  progress_.end();
  return outcome_;
}

int Driver::free_cores() const {
  return options_.jobs - threads_of(running_);
}

/// Takes the group that starts next out of those that wait, where there is room for it at `place`.
std::optional<Group> Driver::next_group(std::optional<Place>& place) {
  place = next_place(running_, options_.gpus);
  if (options_.gpus.empty() && free_cores() > 0) place = Place();
  return place ? waiting_.take(place->waits) : std::nullopt;
}

/// Called with at least one group besides those that wait.
int Driver::threads_for_child() const {
  if (!options_.gpus.empty())
    return std::max(1, options_.jobs / static_cast<int>(options_.gpus.size()));
  return threads_for_next(free_cores(), waiting_.size() + 1);
}

void Driver::start_waiting() {
  pass_turns();
  std::optional<Place> place;
  while (const std::optional<Group> group = next_group(place)) {
    Group left;
    for (const Job* job : *group)
      if (!settle_without_training(*job)) left.push_back(job);
    if (!left.empty()) start(left, *place);
  }
  if (!waiting_.empty()) return;
  for (const int key : children_to_recall(running_, options_.gpus)) {
    Running& running = running_.at(key);
    running.recalled = true;
    stop_child(running);
  }
}

/// A GPU whose child has ended, or needs it no longer, goes to the one that is prepared for it, but
/// not to one that has ended meanwhile. One that is about to end will not say that it has begun.
void Driver::pass_turns() {
  for (auto& [key, running] : running_)
    if (running.turn == Running::Turn::ahead && !running.recalled &&
        gpu_is_free(running_, running.gpu) && give_turn(running.child.turn))
      begin_turn(key);
}

void Driver::begin_turn(int key) {
  Running& running = running_.at(key);
  running.turn = Running::Turn::now;
  running.started = monotonic_seconds();
  progress_.run_started(key, running.label, running.started);
}

/// Whether another process has finished the run meanwhile, or is at it.
bool Driver::settle_without_training(const Job& job) {
  if (run_is_locked(options_.results, job.id)) {
    elsewhere_.push_back(&job);
    next_look_ = monotonic_seconds() + kElsewherePeriod;
    return true;
  }
  if (!path_exists(run_paths(options_.results, job.id).result)) return false;
  ledger_.enter_result(job, monotonic_seconds());
  return true;
}

void Driver::start(const Group& jobs, const Place& place) {
  const int key = next_key_++;
  Running running =
      start_child(jobs, options_.worker, options_.results, threads_for_child(), place.gpu);
  running.waited = place.waits;
  running_.emplace(key, std::move(running));
  if (place.waits) return;
  give_turn(running_.at(key).child.turn);
  begin_turn(key);
}

/// Runs that were being computed elsewhere: finished, or free again because that process died.
void Driver::look_elsewhere() {
  if (elsewhere_.empty() || monotonic_seconds() < next_look_) return;
  next_look_ = monotonic_seconds() + kElsewherePeriod;
  std::vector<const Job*> still;
  for (const Job* job : elsewhere_) {
    if (run_is_locked(options_.results, job->id))
      still.push_back(job);
    else
      waiting_.add({job});
  }
  elsewhere_ = std::move(still);
  start_waiting();
}

int Driver::poll_timeout() const {
  const double now = monotonic_seconds();
  double seconds = progress_.next_tick(now);
  if (!elsewhere_.empty()) seconds = std::min(seconds, next_look_ - now);
  for (const auto& [key, running] : running_)
    seconds = std::min(seconds, seconds_to_look(running, options_.run_timeout_s));
  return static_cast<int>(std::ceil(std::clamp(seconds, 0.0, 3600.0) * 1000));
}

void Driver::wait_for_news() {
  std::vector<pollfd> files = {{signals_.descriptor(), POLLIN, 0}};
  for (const auto& [key, running] : running_)
    if (running.child.messages.is_open())
      files.push_back({running.child.messages.get(), POLLIN, 0});
  poll(files.data(), files.size(), poll_timeout());
  progress_.tick(monotonic_seconds());
}

void Driver::hear(int key, Running& running) {
  read_messages(running, [&](const WorkerMessage& message) {
    progress_.run_message(key, message, monotonic_seconds());
  });
  if (running.turn == Running::Turn::over) progress_.run_ended(key);
}

void Driver::handle_signals() {
  while (const int signal = signals_.next())
    if (signal != SIGCHLD && signal != SIGWINCH) stop(signal);
}

void Driver::stop(int signal) {
  const double now = monotonic_seconds();
  if (outcome_.signal != 0 && now < stopped_at_ + kRepeatSeconds) return;
  if (outcome_.signal != 0) {
    kill_children(running_);
    progress_.end();
    _exit(128 + signal);
  }
  outcome_.signal = signal;
  stopped_at_ = now;
  stopping_ = true;
  stop_children(running_);
  const auto runs = runs_in_turn(running_);
  progress_.note(fmt::format("{}: saving {} running {}; once more to stop at once",
                             signal_name(signal), runs, runs == 1 ? "run" : "runs"),
                 now);
}

void Driver::reap() {
  for (auto place = running_.begin(); place != running_.end();) {
    int status = 0;
    if (waitpid(place->second.child.pid, &status, WNOHANG) != place->second.child.pid) {
      ++place;
      continue;
    }
    Running running = std::move(place->second);
    const int key = place->first;
    place = running_.erase(place);
    hear(key, running);
    progress_.run_ended(key);
    finish(running, child_end(status));
  }
}

void Driver::finish(const Running& running, const ChildEnd& end) {
  if (ended_ahead(running) && end.code != kResults) return put_back(running, end);
  Group left;
  for (const Job* job : running.jobs) {
    if (path_exists(run_paths(options_.results, job->id).result)) {
      ledger_.enter_result(*job, running.started);
    } else if (end.code == kHeldElsewhere) {
      elsewhere_.push_back(job);
      next_look_ = monotonic_seconds() + kElsewherePeriod;
    } else {
      left.push_back(job);
    }
  }
  const bool obeyed = end.code == kInterrupted || end.signal == SIGTERM;
  if (left.empty() || (stopping_ && obeyed && running.kill_at == 0)) return;
  fail_or_retry(running, end, left);
}

/// A child that ended before it began its turn has tried nothing, and may have lacked memory beside
/// the one whose turn it was: its runs start again, once more, on a GPU that nobody else has.
void Driver::put_back(const Running& running, const ChildEnd& end) {
  if (running.recalled || stopping_) return waiting_.put_back(running.jobs);
  waiting_.put_back_for_free_gpu(running.jobs);
  progress_.note(fmt::format("{} is started again when its GPU is free: {}", running.label,
                             failure_reason(running, end, options_.run_timeout_s)),
                 monotonic_seconds());
}

/// One of several runs may have brought all down: alone, each shows whether it was that one.
void Driver::fail_or_retry(const Running& running, const ChildEnd& end, const Group& left) {
  const std::string of_child = failure_reason(running, end, options_.run_timeout_s);
  if (end.code == kResults && !outcome_.io_problem) outcome_.io_problem = of_child;
  if (running.jobs.size() > 1 && !outcome_.io_problem) {
    progress_.note(fmt::format("{} runs that trained together are tried one by one: {}",
                               left.size(), of_child),
                   monotonic_seconds());
    for (const Job* job : left)
      waiting_.add({job});
    return;
  }
  for (const Job* job : left)
    ledger_.enter_failure(
        *job, end.code == kDone ? "ended with exit code 0, but left no result.json" : of_child);
  if (!outcome_.io_problem) return;
  stopping_ = true;
  stop_children(running_);
}

void Driver::update_progress() {
  double left = ledger_.work_left;
  for (const auto& [key, running] : running_)
    left -= running.fraction * running.work();
  outcome_.counts.running = runs_in_turn(running_);
  outcome_.counts.elsewhere = static_cast<std::int64_t>(elsewhere_.size());
  progress_.update(outcome_.counts, left);
}

}  // namespace

SweepOutcome run_all(const Manifest& manifest, const DriverOptions& options, Progress& progress) {
  return Driver(manifest, options, progress).run();
}

}  // namespace recallbench
