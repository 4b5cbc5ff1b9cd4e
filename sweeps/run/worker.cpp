#include "sweeps/run/worker.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <optional>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/file_lock.h"
#include "kernels/base/io/line_file.h"
#include "sweeps/run/exit_code.h"
#include "sweeps/run/messages.h"
#include "sweeps/run/signals.h"
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

/// What a trainer reports, on its way to the parent and into metrics.jsonl.
class Reporter {
 public:
  Reporter(const WorkerOptions& options, const RunConfig& config, RunPaths paths)
      : descriptor_(options.messages), paths_(std::move(paths)) {
    last_.progress.max_epochs = config.train.max_epochs;
    if (descriptor_ >= 0) fcntl(descriptor_, F_SETFL, O_NONBLOCK);
  }

  TrainHooks hooks(int threads) {
    TrainHooks hooks;
    hooks.on_step = [this](const TrainProgress& progress) { step(progress); };
    hooks.on_epoch = [this](const EpochMetrics& metrics) { epoch(metrics); };
    hooks.stop_requested = stop_is_requested;
    hooks.checkpoint_directory = paths_.folder;
    hooks.threads = threads;
    return hooks;
  }

  /// Filled by the trainer with what the checkpoint holds, before the first epoch.
  std::vector<EpochMetrics>* resumed() { return &resumed_; }
  std::int64_t resumed_epochs() const { return static_cast<std::int64_t>(resumed_.size()); }

  /// metrics.jsonl with all epochs, through a power loss.
  void publish_metrics() const {
    std::string text;
    for (const auto* list : {&resumed_, &epochs_})
      for (const EpochMetrics& metrics : *list)
        text += to_json(metrics).compact() + '\n';
    publish(paths_.metrics, text);
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

  /// A full pipe drops the message, a pipe that nobody reads any more ends the run.
  void send() {
    if (descriptor_ < 0) return;
    const std::string line = encode_message(last_);
    if (write(descriptor_, line.data(), line.size()) < 0 && errno == EPIPE) request_stop();
  }

  int descriptor_;
  RunPaths paths_;
  std::vector<EpochMetrics> resumed_, epochs_;
  std::optional<LineFile> file_;
  WorkerMessage last_;
};

}  // namespace

int run_worker(const std::string& config_json, const WorkerOptions& options,
               const Trainer& trainer) {
  prepare_child_signals(options.parent);
  const RunConfig config = parse_run_config(config_json);
  const std::string id = run_id(config);
  const RunPaths paths = run_paths(options.results, id);
  make_directories(paths.folder);
  const std::optional<FileLock> lock = FileLock::try_lock(paths.lock);
  if (!lock) return kHeldElsewhere;
  remove_leftovers(paths.folder);
  if (read_record(options.results, id)) {
    unlink(paths.failure.c_str());
    return kDone;
  }
  Reporter reporter(options, config, paths);
  TimingRecord timing;
  timing.started = utc_now();
  const RunResult result =
      trainer(config, reporter.hooks(options.threads), &timing.timing, reporter.resumed());
  if (result.status == "interrupted") return kInterrupted;
  timing.ended = utc_now();
  timing.threads = options.threads;
  timing.resumed_epochs = reporter.resumed_epochs();
  timing.processor = processor_name();
  if (options.record_host) timing.host = host_name();
  reporter.publish_metrics();
  publish(paths.timing, timing_text(timing));
  publish(paths.result, record_text(make_record(config, result)));
  unlink(paths.failure.c_str());
  return kDone;
}

}  // namespace recallbench
