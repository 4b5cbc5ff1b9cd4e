#pragma once

#include "mixers/mixer.h"

namespace recallbench {

/// What the parallel form and the decoder share; keys and values are those of one head.
struct Hgrn2Sizes {
  Index heads, keys, values;
  double lower_bound, norm_eps;
};

/// Its definition: see decoder.cpp.
std::unique_ptr<Decoder> make_hgrn2_decoder(const Hgrn2Sizes& sizes,
                                            const HostParameters& parameters);

}  // namespace recallbench
