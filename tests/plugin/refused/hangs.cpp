// Never comes back.
#include <unistd.h>

namespace {

struct Hang {
  Hang() {
    for (;;)
      pause();
  }
} hang;

}  // namespace
