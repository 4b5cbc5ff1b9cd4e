#include "sweeps/run/running.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "kernels/base/io/atomic_file.h"
#include "sweeps/run/exit_code.h"
#include "sweeps/store/layout.h"

namespace recallbench {
namespace {

constexpr double kGraceSeconds = 10;
constexpr double kEndingPeriod = 0.02;  // s, between looks at a child that has closed its messages
constexpr std::size_t kLongestLine = 4096;

void take_lines(Running& running, const std::function<void(const WorkerMessage&)>& on_message) {
  for (std::size_t end; (end = running.buffer.find('\n')) != std::string::npos;) {
    const std::string line = running.buffer.substr(0, end + 1);
    if (line == kTurnIsOver) {
      running.turn = Running::Turn::over;
    } else if (line == kTurnBegins) {
      running.begun = true;
    } else if (const auto message = decode_message(line)) {
      running.fraction = fraction_of(message->progress);
      on_message(*message);
    }
    running.buffer.erase(0, end + 1);
  }
  if (running.buffer.size() > kLongestLine) running.buffer.clear();
}

}  // namespace

std::deque<Group> make_groups(const std::vector<const Job*>& jobs,
                              const std::function<std::int64_t(const RunConfig&)>& population) {
  std::deque<Group> groups;
  for (const Job* job : jobs) {
    const std::int64_t most = population ? population(*job->config) : 1;
    const auto fits = [&](const Group& group) {
      return static_cast<std::int64_t>(group.size()) < most &&
             same_shape(*group.front()->config, *job->config);
    };
    const auto place = std::find_if(groups.begin(), groups.end(), fits);
    if (place != groups.end())
      place->push_back(job);
    else
      groups.push_back({job});
  }
  return groups;
}

Running start_child(const Group& jobs, const std::vector<std::string>& worker,
                    const std::string& results, int threads, int gpu) {
  Running running;
  running.jobs = jobs;
  running.label = jobs.front()->label;
  if (jobs.size() > 1) running.label += fmt::format(" and {} more", jobs.size() - 1);
  running.threads = threads;
  running.gpu = gpu;
  std::string configs;
  for (const Job* job : jobs) {
    make_directories(run_paths(results, job->id).folder);
    configs += to_json(*job->config) + '\n';
  }
  // What a population says stands in the log of its first run.
  running.log = run_paths(results, jobs.front()->id).log;
  struct stat log {};
  if (stat(running.log.c_str(), &log) == 0) running.log_offset = static_cast<long>(log.st_size);
  std::vector<std::string> command = worker;
  for (const std::string& argument :
       {std::string("--device"), gpu < 0 ? "cpu" : fmt::format("cuda:{}", gpu),
        std::string("--results"), results, std::string("--threads"), std::to_string(threads),
        std::string("--parent"), std::to_string(getpid())})
    command.push_back(argument);
  running.child = spawn_child(command, configs, running.log);
  return running;
}

double monotonic_seconds() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(since).count();
}

void read_messages(Running& running, const std::function<void(const WorkerMessage&)>& on_message) {
  char chunk[4096];
  while (running.child.messages.is_open()) {
    const ssize_t count = read(running.child.messages.get(), chunk, sizeof(chunk));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return;
    if (count == 0) running.child.messages.close();
    running.buffer.append(chunk, static_cast<std::size_t>(count));
    take_lines(running, on_message);
  }
}

void enforce_timeout(Running& running, double limit_s) {
  const double now = monotonic_seconds();
  if (limit_s <= 0 || running.turn == Running::Turn::ahead) return;
  const bool is_first = running.kill_at == 0;
  if (now < (is_first ? running.started + limit_s : running.kill_at)) return;
  running.kill_at = now + kGraceSeconds;
  kill(running.child.pid, is_first ? SIGTERM : SIGKILL);
}

bool ended_ahead(const Running& running) {
  return running.waited && !running.begun && running.kill_at == 0;
}

double seconds_to_look(const Running& running, double limit_s) {
  // SIGCHLD says when it has ended, but may be lost to a thread of a library.
  double seconds = running.child.messages.is_open() ? 3600 : kEndingPeriod;
  if (limit_s > 0 && running.turn != Running::Turn::ahead) {
    const double limit = running.kill_at > 0 ? running.kill_at : running.started + limit_s;
    seconds = std::min(seconds, limit - monotonic_seconds());
  }
  return seconds;
}

ChildEnd child_end(int status) {
  if (WIFEXITED(status)) return {WEXITSTATUS(status), 0};
  return {-1, WTERMSIG(status)};
}

double Running::work() const {
  double sum = 0;
  for (const Job* job : jobs)
    sum += job->work;
  return sum;
}

std::string failure_reason(const Running& running, const ChildEnd& end, double limit_s) {
  std::string reason;
  if (running.kill_at > 0)
    reason = fmt::format("ran longer than --run-timeout {} s", limit_s);
  else if (end.code == kInterrupted || end.signal == SIGTERM)
    reason = "stopped by a SIGTERM from outside; its checkpoint is kept";
  else if (end.signal == SIGKILL)
    reason = "killed by SIGKILL (perhaps for want of memory)";
  else if (end.signal != 0)
    reason = "killed by " + signal_name(end.signal);
  else
    reason = fmt::format("ended with exit code {}", end.code);
  const std::string last = last_log_line(running.log, running.log_offset);
  if (!last.empty()) return reason + ": " + last;
  // With the disk full, run.log takes no last words.
  return end.code == kResults ? reason + ": results cannot be read or written" : reason;
}

}  // namespace recallbench
