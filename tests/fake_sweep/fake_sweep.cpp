// A sweep whose runs compute a chain of hashes instead of training: quick, deterministic, with
// checkpoints. Everything around the trainer is the real thing.
//   fake_sweep sweep RESULTS RUNS JOBS [TIMEOUT_S]
//   fake_sweep worker ...                           (its own children)
// What the runs do besides, by environment variables:
//   FAKE_STEP_US     microseconds that a step takes
//   FAKE_CRASH_SEED  the run with this seed dies of SIGSEGV, after a line on standard error
//   FAKE_EXIT_SEED   the run with this seed throws Error(usage)
//   FAKE_HANG_SEED   the run with this seed sleeps, deaf to SIGTERM
//   FAKE_NAN_SEED    the run with this seed diverges
//   FAKE_TORN_SEED   the result of the run with this seed is torn as soon as it is there
//   FAKE_POPULATION  most runs that train in one process
//   FAKE_THREADS     so many threads of the sweep's process take signals, as a library's may
//   FAKE_GPUS        so many GPUs, which train one population each at a time; a wait for one ends
//   in the traces "prepared ID", "begins ID", "ends ID", and "crowded ID" where two train on one
//   FAKE_PREPARE_US  microseconds that a child of a GPU prepares itself
//   FAKE_ILL_SEED    the run with this seed dies of SIGSEGV while it prepares
//   FAKE_LARGE_SEED  the run with this seed dies so where another trains on its GPU
//   FAKE_DYING_SEED  the run with this seed, where it must wait for its turn, dies so as that comes
//   FAKE_DEAF_SEED   the run with this seed prepares itself for a minute, deaf to SIGTERM, where it
//   must wait for its turn
//   FAKE_SLOW_SEED   the run with this seed takes 5 times as long
//   FAKE_LINGER_US   microseconds for which a child lives on after its runs; "gone ID" is their end
//   FAKE_TRACE       file to which every trained run appends "trained ID", every overlap "overlap
//   ID"
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <iterator>
#include <limits>
#include <thread>

#include "kernels/base/hash.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/posix.h"
#include "kernels/base/io/terminal.h"
#include "sweeps/run/child.h"
#include "sweeps/run/exit_code.h"
#include "sweeps/run/messages.h"
#include "sweeps/run/sweep.h"
#include "sweeps/run/worker.h"
#include "sweeps/store/layout.h"

namespace recallbench {
namespace {

std::uint64_t number_from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? 0 : std::strtoull(value, nullptr, 10);
}

bool is_seed(const RunConfig& config, const char* name) {
  return config.seed == number_from_environment(name);
}

void trace(const std::string& line) {
  const char* path = std::getenv("FAKE_TRACE");
  if (path == nullptr) return;
  const FileDescriptor file = open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0666);
  write_all(file.get(), line + "\n");
}

/// What a checkpoint holds: one line a value.
struct FakeState {
  std::int64_t step = 0;
  std::uint64_t hash = 0;
  std::vector<std::uint64_t> epochs;  ///< the hash at the end of each
};

void save(const FakeState& state, const std::string& path) {
  std::string text = fmt::format("{} {}", state.step, state.hash);
  for (const std::uint64_t hash : state.epochs)
    text += fmt::format(" {}", hash);
  publish(path, text);
}

FakeState load(const std::string& path, const std::string& id) {
  FakeState state;
  state.hash = xxh3_64(id);
  if (!path_exists(path)) return state;
  const std::string text = read_file(path, 1 << 20);
  const char* at = text.c_str();
  char* end = nullptr;
  state.step = std::strtoll(at, &end, 10);
  state.hash = std::strtoull(end, &end, 10);
  while (*end != '\0')
    state.epochs.push_back(std::strtoull(end, &end, 10));
  return state;
}

double fraction_of(std::uint64_t hash) {
  return static_cast<double>(hash >> 11) * 0x1p-53;
}

SplitMetrics metrics_of(std::uint64_t hash) {
  SplitMetrics metrics;
  metrics.loss = fraction_of(hash);
  metrics.accuracy = fraction_of(xxh3_64(std::to_string(hash)));
  metrics.examples = 100;
  metrics.labels = 400;
  metrics.slices["num_kv_pairs"] = {{4, metrics.accuracy}, {16, metrics.accuracy / 2}};
  return metrics;
}

EpochMetrics epoch_of(std::int64_t epoch, std::int64_t steps, std::uint64_t hash) {
  return {epoch, (epoch + 1) * steps, 0.01, fraction_of(hash), metrics_of(hash)};
}

[[noreturn]] void crash() {
  std::cerr << "about to \x1b[31mcrash\n" << std::flush;
  signal(SIGSEGV, SIG_DFL);  // a sanitizer would make an exit code of it
  raise(SIGSEGV);
  std::abort();
}

void misbehave(const RunConfig& config) {
  if (is_seed(config, "FAKE_CRASH_SEED")) crash();
  if (is_seed(config, "FAKE_EXIT_SEED"))
    fail(ErrorKind::usage, "fake", "this seed is refused; take another");
  while (is_seed(config, "FAKE_HANG_SEED")) {
    signal(SIGTERM, SIG_IGN);
    sleep(1);
  }
}

RunResult result_of(const FakeState& state, const RunConfig& config) {
  RunResult result;
  result.status = "done";
  result.reason = "max_epochs";
  result.epochs = config.train.max_epochs;
  result.steps = state.step;
  result.valid = metrics_of(state.hash);
  result.test = metrics_of(state.hash + 1);
  result.chance = 0.1;
  result.num_parameters = 1000;
  result.state_bytes = 64 * config.model.d_model;
  result.state_length = 64;
  if (!is_seed(config, "FAKE_NAN_SEED")) return result;
  result.status = "diverged";
  result.reason = "loss is nan at step 17";
  result.test.accuracy = result.test.loss = std::numeric_limits<double>::quiet_NaN();
  return result;
}

RunResult train_one(const RunConfig& config, const TrainHooks& hooks, const RunTiming& timing) {
  const std::string id = run_id(config);
  const FileDescriptor folder =
      open_at(AT_FDCWD, hooks.checkpoint_directory, O_RDONLY | O_DIRECTORY);
  if (flock(folder.get(), LOCK_EX | LOCK_NB) != 0) trace("overlap " + id);
  misbehave(config);
  const std::string path = paths_in(hooks.checkpoint_directory).checkpoint;
  const std::int64_t steps = config.task.train[0].num_examples / config.task.train_batch_size;
  auto pause = static_cast<useconds_t>(number_from_environment("FAKE_STEP_US"));
  if (is_seed(config, "FAKE_SLOW_SEED")) pause *= 5;
  FakeState state = load(path, id);
  std::vector<EpochMetrics> resumed;
  for (std::size_t i = 0; i < state.epochs.size(); ++i)
    resumed.push_back(epoch_of(static_cast<std::int64_t>(i), steps, state.epochs[i]));
  hooks.on_resume(resumed);
  while (state.step < steps * config.train.max_epochs) {
    if (pause != 0) usleep(pause);
    state.hash = xxh3_64(fmt::format("{} {}", state.hash, state.step));
    const std::int64_t epoch = state.step++ / steps;
    hooks.on_step({epoch, config.train.max_epochs, (state.step - 1) % steps + 1, steps, 1e5});
    if (state.step % steps == 0) {
      hooks.on_epoch(epoch_of(epoch, steps, state.hash));
      state.epochs.push_back(state.hash);
      save(state, path);
    }
    if (!hooks.stop_requested()) continue;
    save(state, path);
    RunResult interrupted;
    interrupted.status = "interrupted";
    return interrupted;
  }
  trace("trained " + id);
  const RunResult result = result_of(state, config);
  hooks.on_end(result, timing);
  if (is_seed(config, "FAKE_TORN_SEED"))
    publish(hooks.checkpoint_directory + "/result.json", "{\"schema\":");
  return result;
}

/// One after another: what tests of populations see is who shares a process.
std::vector<RunResult> train_fake(const std::vector<TrainMember>& members, double ahead_s) {
  if (members.size() > 1) trace(fmt::format("together {}", members.size()));
  RunTiming timing;
  timing.ahead_s = ahead_s;
  std::vector<RunResult> results;
  for (const TrainMember& member : members)
    results.push_back(train_one(*member.config, member.hooks, timing));
  return results;
}

/// A GPU that one process at a time may use.
class FakeGpu {
 public:
  explicit FakeGpu(const std::string& device)
      : file_(open_at(AT_FDCWD, std::getenv("FAKE_TRACE") + ("." + device), O_RDWR | O_CREAT,
                      0666)) {}
  bool try_take() const { return flock(file_.get(), LOCK_EX | LOCK_NB) == 0; }

 private:
  FileDescriptor file_;
};

/// Whether this process' turn comes within so many milliseconds (-1: some day); it is not taken.
bool turn_comes_within(int milliseconds) {
  pollfd file{kTurnDescriptor, POLLIN, 0};
  return poll(&file, 1, milliseconds) > 0;
}

/// Nothing is waited for that comes within a second.
bool must_wait_for_turn() {
  return !turn_comes_within(1000);
}

RunTrainer fake_gpu_trainer(const std::string& device) {
  RunTrainer trainer;
  trainer.prepare = [device](const std::vector<RunConfig>& configs) {
    usleep(static_cast<useconds_t>(number_from_environment("FAKE_PREPARE_US")));
    for (const RunConfig& config : configs) {
      if (is_seed(config, "FAKE_ILL_SEED")) crash();
      if (is_seed(config, "FAKE_DYING_SEED") && must_wait_for_turn() && turn_comes_within(-1))
        crash();
      if (is_seed(config, "FAKE_DEAF_SEED") && must_wait_for_turn()) {
        signal(SIGTERM, SIG_IGN);
        sleep(60);
      }
      if (is_seed(config, "FAKE_LARGE_SEED") && !FakeGpu(device).try_take()) crash();
    }
    trace("prepared " + run_id(configs.front()));
  };
  trainer.train = [device](const std::vector<TrainMember>& members, double ahead_s) {
    const std::string id = run_id(*members.front().config);
    const FakeGpu gpu(device);
    if (!gpu.try_take()) trace("crowded " + id);
    trace("begins " + id);
    const std::vector<RunResult> results = train_fake(members, ahead_s);
    trace("ends " + id);
    return results;
  };
  return trainer;
}

std::vector<RunConfig> fake_runs(std::uint64_t count) {
  RunConfig config;
  config.sweep = "fake";
  config.task.train = {{"mqar", {{"input_seq_len", std::int64_t{64}}}, 320, ""}};
  config.task.test = config.task.train;
  config.train.max_epochs = 4;
  config.model.layers = {{"identity", {}, ""}};
  std::vector<RunConfig> runs;
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    config.seed = seed;
    config.model_name = seed % 2 == 0 ? "even" : "odd";
    config.model.d_model = seed % 3 == 0 ? 32 : 64;
    runs.push_back(config);
  }
  return runs;
}

int sweep(const std::vector<std::string>& arguments) {
  SweepRequest request;
  request.name = "fake";
  request.driver.results = arguments.at(0);
  request.runs = fake_runs(std::stoull(arguments.at(1)));
  request.driver.jobs = std::stoi(arguments.at(2));
  if (arguments.size() > 3) request.driver.run_timeout_s = std::stod(arguments[3]);
  if (const auto most = number_from_environment("FAKE_POPULATION"); most > 0)
    request.driver.population = [most](const RunConfig&) {
      return static_cast<std::int64_t>(most);
    };
  request.driver.worker = {"/proc/self/exe", "worker"};
  for (std::uint64_t i = 0; i < number_from_environment("FAKE_GPUS"); ++i)
    request.driver.gpus.push_back(static_cast<int>(i));
  for (std::uint64_t i = 0; i < number_from_environment("FAKE_THREADS"); ++i)
    std::thread([] { pause(); }).detach();
  Progress progress(choose_progress(false), use_color("auto", STDERR_FILENO));
  const SweepOutcome outcome = run_sweep(request, progress);
  std::cout << fmt::format("done {} already {} failed {}\n", outcome.counts.done, outcome.already,
                           outcome.counts.failed);
  for (const std::string& problem : outcome.unreadable)
    std::cout << "unreadable: " << problem << "\n";
  if (outcome.io_problem) std::cerr << *outcome.io_problem << "\n";
  return exit_code_of(outcome);
}

int worker(const std::vector<std::string>& arguments) {
  WorkerOptions options;
  options.messages = kMessageDescriptor;
  options.turn = kTurnDescriptor;
  std::string device;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    if (arguments[i] == "--results") options.results = arguments[i + 1];
    if (arguments[i] == "--threads") options.threads = std::stoi(arguments[i + 1]);
    if (arguments[i] == "--device") device = arguments[i + 1];
    if (arguments[i] == "--parent") options.parent = std::stoi(arguments[i + 1]);
  }
  const std::string configs(std::istreambuf_iterator<char>(std::cin), {});
  const int code = run_worker(
      configs, options, device == "cpu" ? RunTrainer{{}, train_fake} : fake_gpu_trainer(device));
  if (const auto linger = number_from_environment("FAKE_LINGER_US"); linger > 0) {
    usleep(static_cast<useconds_t>(linger));
    trace("gone " + run_id(parse_run_config(configs.substr(0, configs.find('\n')))));
  }
  return code;
}

int run(const std::vector<std::string>& arguments) {
  try {
    const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
    return arguments.at(0) == "sweep" ? sweep(rest) : worker(rest);
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return error.kind() == ErrorKind::io ? kResults : kUsage;
  }
}

}  // namespace
}  // namespace recallbench

int main(int count, char** values) {
  return recallbench::run({values + 1, values + count});
}
