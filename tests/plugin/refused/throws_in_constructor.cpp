// Throws before its entry is asked for.
#include <stdexcept>

namespace {

struct Thrower {
  Thrower() { throw std::runtime_error("thrown by a static object"); }
} thrower;

}  // namespace
