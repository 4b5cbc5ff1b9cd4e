#pragma once

#include "mixers/mixer.h"

namespace recallbench {

/// Its definition: see decoder.cpp.
std::unique_ptr<Decoder> make_rwkv4_decoder(Index d_model, const HostParameters& parameters);

}  // namespace recallbench
