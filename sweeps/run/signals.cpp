#include "sweeps/run/signals.h"

#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/base/error.h"

namespace recallbench {
namespace {

volatile std::sig_atomic_t stop_flag = 0;

void set_stop_flag(int) {
  stop_flag = 1;
}

void ignore(int number, struct sigaction* previous) {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  sigaction(number, &action, previous);
}

}  // namespace

SignalGuard::SignalGuard() {
  sigset_t caught;
  sigemptyset(&caught);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGWINCH})
    sigaddset(&caught, number);
  descriptor_ = signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor_ < 0)
    fail(ErrorKind::io, "signals", "cannot open a signal descriptor: {}; free some files",
         strerror(errno));
  sigprocmask(SIG_BLOCK, &caught, &previous_mask_);
  ignore(SIGPIPE, &previous_pipe_);
  ignore(SIGXFSZ, &previous_size_);
}

SignalGuard::~SignalGuard() {
  close(descriptor_);
  sigaction(SIGXFSZ, &previous_size_, nullptr);
  sigaction(SIGPIPE, &previous_pipe_, nullptr);
  sigprocmask(SIG_SETMASK, &previous_mask_, nullptr);
}

int SignalGuard::next() {
  signalfd_siginfo info;
  const ssize_t count = read(descriptor_, &info, sizeof(info));
  return count == static_cast<ssize_t>(sizeof(info)) ? static_cast<int>(info.ssi_signo) : 0;
}

void ignore_write_signals() {
  ignore(SIGPIPE, nullptr);
  ignore(SIGXFSZ, nullptr);
}

void prepare_child_signals(int parent) {
  ignore_write_signals();
  struct sigaction action {};
  action.sa_handler = set_stop_flag;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  if (parent == 0) return;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) request_stop();  // it ended before the line above
}

bool stop_is_requested() {
  return stop_flag != 0;
}
void request_stop() {
  stop_flag = 1;
}

}  // namespace recallbench
