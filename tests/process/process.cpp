#include "tests/process/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace recallbench {
namespace {

[[noreturn]] void execute(const std::vector<std::string>& command, const ProcessOptions& options,
                          const std::string& folder) {
  const int input = open((folder + "/in").c_str(), O_RDONLY);
  const int output = open((folder + "/out").c_str(), O_WRONLY | O_CREAT, 0600);
  const int error = options.error_descriptor >= 0
                        ? options.error_descriptor
                        : open((folder + "/err").c_str(), O_WRONLY | O_CREAT, 0600);
  dup2(input, 0);
  dup2(output, 1);
  dup2(error, 2);
  for (int descriptor = 3; descriptor < 100; ++descriptor)
    close(descriptor);
  for (const auto& [name, value] : options.environment)
    setenv(name.c_str(), value.c_str(), 1);
  if (!options.folder.empty() && chdir(options.folder.c_str()) != 0) _exit(126);
  if (options.file_size_limit >= 0) {
    const auto bytes = static_cast<rlim_t>(options.file_size_limit);
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  std::vector<char*> arguments;
  for (const std::string& argument : command)
    arguments.push_back(const_cast<char*>(argument.data()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& command, const ProcessOptions& options) {
  write_text(folder_ / "in", options.input);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ == 0) execute(command, options, folder_.path());
}

Process::~Process() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Process::send(int signal) const {
  kill(pid_, signal);
}

std::vector<pid_t> Process::children() const {
  const std::string pid = std::to_string(pid_);
  std::ifstream file("/proc/" + pid + "/task/" + pid + "/children");
  return {std::istream_iterator<pid_t>(file), std::istream_iterator<pid_t>()};
}

Ended Process::wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  Ended ended;
  if (WIFEXITED(status)) ended.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
  ended.out = file_text(folder_ / "out");
  ended.err = file_text(folder_ / "err");
  return ended;
}

Ended run_program(const std::vector<std::string>& command, const ProcessOptions& options) {
  return Process(command, options).wait();
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 30000; ++i) {
    if (condition()) return true;
    const timespec pause{0, 2'000'000};
    nanosleep(&pause, nullptr);
  }
  return false;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace recallbench
