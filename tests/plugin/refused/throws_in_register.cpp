// Throws, with a text of two lines, where it should register.
#include <stdexcept>

#include "mixers/plugin.h"

namespace {

void register_nothing(recallbench::MixerRegistry&) {
  throw std::runtime_error("thrown by register\nand a second line");
}

}  // namespace

RECALLBENCH_PLUGIN(register_nothing)
