// Dies of a signal before its entry is asked for, after it has printed.
#include <csignal>
#include <cstdio>

namespace {

struct Crash {
  Crash() {
    std::puts("a line on standard output");
    std::fputs("a line on standard error\n", stderr);
    std::raise(SIGSEGV);
  }
} crash;

}  // namespace
