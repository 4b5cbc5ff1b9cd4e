#include "sweeps/run/driver.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/file_lock.h"
#include "kernels/base/text.h"
#include "sweeps/run/exit_code.h"
#include "sweeps/run/running.h"
#include "sweeps/run/schedule.h"
#include "sweeps/run/signals.h"
#include "sweeps/run/worker.h"
#include "sweeps/store/labels.h"
#include "sweeps/store/record.h"
#include "sweeps/store/status.h"

namespace recallbench {
namespace {

constexpr double kRepeatSeconds = 0.5;  // a signal sent to process and group comes twice
constexpr double kElsewherePeriod = 1;  // s, between looks at runs that others compute
constexpr double kEndingPeriod = 0.02;  // s, between looks at a child that has closed its messages

/// The state of one call of run_all: every run is in one of waiting_, elsewhere_ and running_, or
/// counted in outcome_.
class Driver {
 public:
  Driver(const Manifest& manifest, const DriverOptions& options, Progress& progress)
      : options_(options), progress_(progress) {
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
  bool has_room() const;
  int threads_for_child() const;
  int free_gpu() const;
  void start(const std::vector<const Job*>& jobs);
  void look_elsewhere();
  void wait_for_news();
  int poll_timeout() const;
  void handle_signals();
  void stop(int signal);
  void signal_children(int signal) const;
  void reap();
  void finish(const Running& running, const ChildEnd& end);
  void fail_or_retry(const Running& running, const ChildEnd& end,
                     const std::vector<const Job*>& left);
  void finish_with_result(const Job& job, double started);
  void record_failure(const Job& job, const std::string& reason);
  void update_progress();
  int free_cores() const;

  const DriverOptions& options_;
  Progress& progress_;
  SignalGuard signals_;
  std::deque<Job> jobs_;               // addresses stay
  std::deque<Group> waiting_;          // longest first
  std::vector<const Job*> elsewhere_;  // computed by other processes
  std::map<int, Running> running_;     // by a number of its own
  int next_key_ = 0;
  double next_look_ = 0;
  double work_left_ = 0;
  double stopped_at_ = 0;
  bool stopping_ = false;
  SweepOutcome outcome_;
};

void Driver::collect_jobs(const Manifest& manifest) {
  const RunLabels labels = make_labels(manifest.runs);
  std::vector<double> work;
  for (std::size_t i = 0; i < manifest.runs.size(); ++i) {
    const RunConfig& config = manifest.runs[i];
    const std::string id = run_id(config);
    if (const auto record = read_record(options_.results, id)) {
      ++outcome_.already;
      if (record->result.status == "diverged") ++outcome_.counts.diverged;
    } else {
      work.push_back(estimated_work(config));
      jobs_.push_back({&config, id, labels.run[i], work.back()});
    }
  }
  Group longest;
  for (const std::size_t i : longest_first(work))
    longest.push_back(&jobs_[i]);
  waiting_ = make_groups(longest, options_.population);
  for (const double w : work)
    work_left_ += w;
  outcome_.counts.total = static_cast<std::int64_t>(manifest.runs.size());
  outcome_.counts.done = outcome_.already;
}

Driver::~Driver() {
  signal_children(SIGTERM);
  for (const auto& [key, running] : running_)
    waitpid(running.child.pid, nullptr, 0);
}

SweepOutcome Driver::run() {
  progress_.begin(outcome_.counts, work_left_, monotonic_seconds());
  while (true) {
    if (!stopping_) start_waiting();
    if (!stopping_) look_elsewhere();
    const bool more = !stopping_ && (!waiting_.empty() || !elsewhere_.empty());
    if (running_.empty() && !more) break;
    update_progress();
    wait_for_news();
    handle_signals();
    for (auto& [key, running] : running_) {
      read_messages(running, [&, key = key](const WorkerMessage& message) {
        progress_.run_message(key, message, monotonic_seconds());
      });
      enforce_timeout(running, options_.run_timeout_s);
    }
    reap();
  }
  update_progress();
  progress_.end();
  return outcome_;
}

int Driver::free_cores() const {
  int used = 0;
  for (const auto& [key, running] : running_)
    used += running.threads;
  return options_.jobs - used;
}

int Driver::free_gpu() const {
  for (const int gpu : options_.gpus) {
    const bool taken = std::any_of(running_.begin(), running_.end(),
                                   [gpu](const auto& entry) { return entry.second.gpu == gpu; });
    if (!taken) return gpu;
  }
  return -1;
}

bool Driver::has_room() const {
  return options_.gpus.empty() ? free_cores() > 0 : free_gpu() >= 0;
}

/// Called with at least one group besides those that wait.
int Driver::threads_for_child() const {
  if (!options_.gpus.empty())
    return std::max(1, options_.jobs / static_cast<int>(options_.gpus.size()));
  return threads_for_next(free_cores(), static_cast<std::int64_t>(waiting_.size()) + 1);
}

void Driver::start_waiting() {
  while (!waiting_.empty() && has_room()) {
    const Group group = std::move(waiting_.front());
    waiting_.pop_front();
    Group left;
    for (const Job* job : group)
      if (!settle_without_training(*job)) left.push_back(job);
    if (!left.empty()) start(left);
  }
}

/// Whether another process has finished the run meanwhile, or is at it.
bool Driver::settle_without_training(const Job& job) {
  if (run_is_locked(options_.results, job.id)) {
    elsewhere_.push_back(&job);
    next_look_ = monotonic_seconds() + kElsewherePeriod;
    return true;
  }
  if (!path_exists(run_paths(options_.results, job.id).result)) return false;
  finish_with_result(job, monotonic_seconds());
  return true;
}

void Driver::start(const Group& jobs) {
  Running running;
  running.jobs = jobs;
  running.threads = threads_for_child();
  running.gpu = free_gpu();
  running.started = monotonic_seconds();
  std::string configs;
  for (const Job* job : jobs) {
    const RunPaths paths = run_paths(options_.results, job->id);
    make_directories(paths.folder);
    struct stat log {};
    running.log_offsets.push_back(
        stat(paths.log.c_str(), &log) == 0 ? static_cast<long>(log.st_size) : 0);
    configs += to_json(*job->config) + '\n';
  }
  std::vector<std::string> command = options_.worker;
  for (const std::string& argument :
       {std::string("--device"), running.gpu < 0 ? "cpu" : fmt::format("cuda:{}", running.gpu),
        std::string("--results"), options_.results, std::string("--threads"),
        std::to_string(running.threads), std::string("--parent"), std::to_string(getpid())})
    command.push_back(argument);
  // What a population says stands in the log of its first run.
  running.child = spawn_child(command, configs, run_paths(options_.results, jobs.front()->id).log);
  std::string label = jobs.front()->label;
  if (jobs.size() > 1) label += fmt::format(" and {} more", jobs.size() - 1);
  progress_.run_started(next_key_, label, running.started);
  running_.emplace(next_key_++, std::move(running));
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
      waiting_.push_back({job});
  }
  elsewhere_ = std::move(still);
  start_waiting();
}

int Driver::poll_timeout() const {
  const double now = monotonic_seconds();
  double seconds = progress_.next_tick(now);
  if (!elsewhere_.empty()) seconds = std::min(seconds, next_look_ - now);
  for (const auto& [key, running] : running_) {
    const double limit =
        running.kill_at > 0 ? running.kill_at : running.started + options_.run_timeout_s;
    if (options_.run_timeout_s > 0) seconds = std::min(seconds, limit - now);
    // It is ending. SIGCHLD says when, but may be lost to a thread of a library.
    if (!running.child.messages.is_open()) seconds = std::min(seconds, kEndingPeriod);
  }
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

void Driver::handle_signals() {
  while (const int signal = signals_.next())
    if (signal != SIGCHLD && signal != SIGWINCH) stop(signal);
}

void Driver::signal_children(int signal) const {
  for (const auto& [key, running] : running_)
    kill(running.child.pid, signal);
}

void Driver::stop(int signal) {
  const double now = monotonic_seconds();
  if (outcome_.signal != 0 && now < stopped_at_ + kRepeatSeconds) return;
  if (outcome_.signal != 0) {
    signal_children(SIGKILL);
    progress_.end();
    _exit(128 + signal);
  }
  outcome_.signal = signal;
  stopped_at_ = now;
  stopping_ = true;
  signal_children(SIGTERM);
  progress_.note(
      fmt::format("{}: saving {} running {}; once more to stop at once", signal_name(signal),
                  running_.size(), running_.size() == 1 ? "run" : "runs"),
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
    progress_.run_ended(key);
    finish(running, child_end(status));
  }
}

void Driver::finish(const Running& running, const ChildEnd& end) {
  Group left;
  for (const Job* job : running.jobs) {
    if (path_exists(run_paths(options_.results, job->id).result)) {
      finish_with_result(*job, running.started);
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

/// One of several runs may have brought all down: alone, each shows whether it was that one.
void Driver::fail_or_retry(const Running& running, const ChildEnd& end, const Group& left) {
  const auto log_of = [&](std::size_t i) {
    return run_paths(options_.results, running.jobs[i]->id).log;
  };
  const std::string of_child =
      failure_reason(running, end, log_of(0), running.log_offsets[0], options_.run_timeout_s);
  if (end.code == kResults && !outcome_.io_problem) outcome_.io_problem = of_child;
  if (running.jobs.size() > 1 && !outcome_.io_problem) {
    progress_.note(fmt::format("{} runs that trained together are tried one by one: {}",
                               left.size(), of_child),
                   monotonic_seconds());
    for (const Job* job : left)
      waiting_.push_back({job});
    return;
  }
  for (const Job* job : left)
    record_failure(
        *job, end.code == kDone ? "ended with exit code 0, but left no result.json" : of_child);
  if (!outcome_.io_problem) return;
  stopping_ = true;
  signal_children(SIGTERM);
}

void Driver::finish_with_result(const Job& job, double started) {
  const auto record = read_record(options_.results, job.id);
  if (!record) return record_failure(job, "its result.json has vanished");
  const RunResult& result = record->result;
  ++outcome_.counts.done;
  const bool diverged = result.status == "diverged";
  if (diverged) ++outcome_.counts.diverged;
  work_left_ -= job.work;
  const std::string what = diverged
                               ? result.reason
                               : fmt::format("accuracy {:.3f}, {} epochs ({})",
                                             result.test.accuracy, result.epochs, result.reason);
  progress_.note(
      fmt::format("[{}/{}] {:<8}  {}: {}, {}", outcome_.counts.done + outcome_.counts.failed,
                  outcome_.counts.total, result.status, job.label, printable(what),
                  duration_text(monotonic_seconds() - started)),
      monotonic_seconds());
}

/// The reason goes into failure.json, unless another process has taken the run up meanwhile.
void Driver::record_failure(const Job& job, const std::string& reason) {
  ++outcome_.counts.failed;
  work_left_ -= job.work;
  const RunPaths paths = run_paths(options_.results, job.id);
  try {
    if (const auto lock = FileLock::try_lock(paths.lock); lock && !path_exists(paths.result)) {
      const auto earlier = read_failure(options_.results, job.id);
      publish(paths.failure, failure_text({reason, earlier ? earlier->attempts + 1 : 1}));
    }
  } catch (const Error& error) {
    if (!outcome_.io_problem) outcome_.io_problem = error.what();
  }
  outcome_.failures.push_back(job.label + ": " + reason);
  progress_.note(
      fmt::format("[{}/{}] failed    {}: {}", outcome_.counts.done + outcome_.counts.failed,
                  outcome_.counts.total, job.label, reason),
      monotonic_seconds());
}

void Driver::update_progress() {
  double left = work_left_;
  for (const auto& [key, running] : running_)
    left -= running.fraction * running.work();
  outcome_.counts.running = static_cast<std::int64_t>(running_.size());
  outcome_.counts.elsewhere = static_cast<std::int64_t>(elsewhere_.size());
  progress_.update(outcome_.counts, left);
}

}  // namespace

SweepOutcome run_all(const Manifest& manifest, const DriverOptions& options, Progress& progress) {
  return Driver(manifest, options, progress).run();
}

}  // namespace recallbench
