#pragma once

#include <string>

#include "mixers/mixer.h"

namespace recallbench {

class FeatureMap;

/// A factory of causal linear attention whose `feature_map` is `default_map` where the
/// configuration names none. The mixers `linear_attention` and `based` are this one.
MixerFactory linear_attention_factory(const std::string& default_map);

/// Its definition: see decoder.cpp.
std::unique_ptr<Decoder> linear_attention_decoder(const FeatureMap& map, Index d_model, Index heads,
                                                  double eps, const HostParameters& parameters,
                                                  Index length);

}  // namespace recallbench
