#include "sweeps/run/signals.h"

#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "kernels/base/error.h"

namespace recallbench {
namespace {

constexpr int kStops[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

std::atomic<bool> stop_flag = false;
static_assert(std::atomic<bool>::is_always_lock_free, "for signal handlers");

void set_stop_flag(int) {
  stop_flag = true;
}

void act(int number, void (*how)(int)) {
  struct sigaction action {};
  action.sa_handler = how;
  sigaction(number, &action, nullptr);
}

bool is_ignored(int number) {
  struct sigaction action {};
  return sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

SignalGuard::SignalGuard() {
  sigset_t caught;
  sigemptyset(&caught);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGWINCH})
    if (!is_ignored(number)) sigaddset(&caught, number);
  descriptor_ = signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor_ < 0)
    fail(ErrorKind::io, "signals", "cannot open a signal descriptor: {}; free some files",
         strerror(errno));
  sigprocmask(SIG_BLOCK, &caught, &previous_mask_);
}

SignalGuard::~SignalGuard() {
  close(descriptor_);
  if (stops_)
    for (const int number : kStops)
      act(number, SIG_IGN);
  sigprocmask(SIG_SETMASK, &previous_mask_, nullptr);
}

int SignalGuard::next() {
  signalfd_siginfo info;
  const ssize_t count = read(descriptor_, &info, sizeof(info));
  const int number =
      count == static_cast<ssize_t>(sizeof(info)) ? static_cast<int>(info.ssi_signo) : 0;
  stops_ = stops_ || std::find(std::begin(kStops), std::end(kStops), number) != std::end(kStops);
  return number;
}

void prepare_signals() {
  act(SIGPIPE, SIG_IGN);
  act(SIGXFSZ, SIG_IGN);
  act(SIGCHLD, SIG_DFL);
}

void prepare_child_signals(int parent) {
  prepare_signals();
  struct sigaction action {};
  action.sa_handler = set_stop_flag;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  if (parent == 0) return;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) request_stop();  // it ended before the line above
}

bool stop_is_requested() {
  return stop_flag;
}
void request_stop() {
  stop_flag = true;
}

}  // namespace recallbench
