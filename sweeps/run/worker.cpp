#include "sweeps/run/worker.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <deque>
#include <fstream>
#include <optional>
#include <sstream>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/file_lock.h"
#include "kernels/base/io/line_file.h"
#include "sweeps/run/exit_code.h"
#include "sweeps/run/messages.h"
#include "sweeps/run/running.h"
#include "sweeps/run/signals.h"
#include "sweeps/run/turn.h"
#include "sweeps/store/record.h"
#include "sweeps/train/metrics_json.h"

namespace recallbench {
namespace {

/// "2026-03-01T12:00:00Z".
std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

/// One run of this process: what the trainer reports of it goes to the parent, into metrics.jsonl
/// and, at its end, into its records.
class WorkerRun {
 public:
  WorkerRun(const WorkerOptions& options, RunConfig config, FileLock lock)
      : options_(options),
        config_(std::move(config)),
        paths_(run_paths(options.results, run_id(config_))),
        lock_(std::move(lock)) {
    last_.progress.max_epochs = config_.train.max_epochs;
    timing_.started = utc_now();
    remove_leftovers(paths_.folder);
  }
  WorkerRun(const WorkerRun&) = delete;
  WorkerRun& operator=(const WorkerRun&) = delete;

  TrainMember member() {
    TrainHooks hooks;
    hooks.on_resume = [this](const std::vector<EpochMetrics>& epochs) { resumed_ = epochs; };
    hooks.on_step = [this](const TrainProgress& progress) { step(progress); };
    hooks.on_epoch = [this](const EpochMetrics& metrics) { epoch(metrics); };
    hooks.on_end = [this](const RunResult& result, const RunTiming& timing) {
      end(result, timing);
    };
    hooks.stop_requested = stop_is_requested;
    hooks.checkpoint_directory = paths_.folder;
    hooks.data_cache = cache_path(options_.results);
    hooks.threads = options_.threads;
    hooks.device = options_.device;
    return {&config_, hooks};
  }

 private:
  void step(const TrainProgress& progress) {
    last_.progress = progress;
    last_.accuracy.reset();
    send();
  }

  /// An earlier process may have written epochs that its last checkpoint does not hold: the file
  /// starts again from those that it does.
  void epoch(const EpochMetrics& metrics) {
    if (epochs_.empty()) {
      publish_metrics();
      file_.emplace(paths_.metrics);
    }
    epochs_.push_back(metrics);
    file_->append(to_json(metrics).compact());
    last_.progress.epoch = metrics.epoch + 1;
    last_.progress.step = 0;
    last_.accuracy = metrics.valid.accuracy;
    send();
  }

  /// metrics.jsonl with all epochs, through a power loss.
  void publish_metrics() const {
    std::string text;
    for (const auto* list : {&resumed_, &epochs_})
      for (const EpochMetrics& metrics : *list)
        text += to_json(metrics).compact() + '\n';
    publish(paths_.metrics, text);
  }

  void end(const RunResult& result, const RunTiming& timing) {
    timing_.timing = timing;
    timing_.ended = utc_now();
    timing_.threads = options_.threads;
    timing_.resumed_epochs = static_cast<std::int64_t>(resumed_.size());
    timing_.processor = options_.device == Device::cpu ? processor_name() : options_.device_kind;
    if (options_.record_host) timing_.host = host_name();
    publish_metrics();
    publish(paths_.timing, timing_text(timing_));
    publish(paths_.result, record_text(make_record(config_, result, options_.device_kind)));
    unlink(paths_.failure.c_str());
  }

  /// A full pipe drops the message, a pipe that nobody reads any more ends the run.
  void send() {
    if (options_.messages < 0) return;
    const std::string line = encode_message(last_);
    if (write(options_.messages, line.data(), line.size()) < 0 && errno == EPIPE) request_stop();
  }

  const WorkerOptions& options_;
  RunConfig config_;
  RunPaths paths_;
  FileLock lock_;
  TimingRecord timing_;
  std::vector<EpochMetrics> resumed_, epochs_;
  std::optional<LineFile> file_;
  WorkerMessage last_;
};

/// Seconds from here to the turn of this process; nothing where it is to stop.
std::optional<double> prepare_until_turn(const std::vector<RunConfig>& configs,
                                         const WorkerOptions& options, const RunTrainer& trainer) {
  const double began = monotonic_seconds();
  if (trainer.prepare) trainer.prepare(configs);
  if (options.turn < 0) return 0.0;
  const std::optional<double> given = wait_for_turn(options.turn, stop_is_requested);
  if (!given) return std::nullopt;
  if (options.messages >= 0) write_all(options.messages, kTurnBegins);
  return std::max(0.0, *given - began);
}

}  // namespace

RunTrainer population_trainer(const WorkerOptions& options) {
  RunTrainer trainer;
  if (options.device == Device::cpu) {
    trainer.train = [](const std::vector<TrainMember>& members, double) {
      return train_population(members);
    };
    return trainer;
  }
  const auto prepared = std::make_shared<Preparation>();
  trainer.prepare = [prepared, options](const std::vector<RunConfig>& configs) {
    *prepared = prepare_population(configs, options.threads, cache_path(options.results),
                                   stop_is_requested);
  };
  trainer.train = [prepared](const std::vector<TrainMember>& members, double ahead_s) {
    prepared->ahead_s = ahead_s;
    return train_population(members, std::move(*prepared));
  };
  return trainer;
}

int run_worker(const std::string& configs, const WorkerOptions& options,
               const RunTrainer& trainer) {
  prepare_child_signals(options.parent);
  if (options.messages >= 0) fcntl(options.messages, F_SETFL, O_NONBLOCK);
  std::vector<RunConfig> wanted;
  std::istringstream lines(configs);
  for (std::string line; std::getline(lines, line);)
    wanted.push_back(parse_run_config(line));
  const std::optional<double> ahead_s = prepare_until_turn(wanted, options, trainer);
  if (!ahead_s) return kInterrupted;
  bool held = false;
  std::deque<WorkerRun> runs;  // addresses stay
  for (RunConfig& config : wanted) {
    const std::string id = run_id(config);
    const RunPaths paths = run_paths(options.results, id);
    make_directories(paths.folder);
    std::optional<FileLock> lock = FileLock::try_lock(paths.lock);
    if (!lock) {
      held = true;
    } else if (path_exists(paths.result)) {
      unlink(paths.failure.c_str());
    } else {
      runs.emplace_back(options, std::move(config), std::move(*lock));
    }
  }
  std::vector<TrainMember> members;
  for (WorkerRun& run : runs)
    members.push_back(run.member());
  std::vector<RunResult> results;
  if (!members.empty()) results = trainer.train(members, *ahead_s);
  if (options.messages >= 0) write_all(options.messages, kTurnIsOver);
  for (const RunResult& result : results)
    if (result.status == "interrupted") return kInterrupted;
  return held ? kHeldElsewhere : kDone;
}

}  // namespace recallbench
