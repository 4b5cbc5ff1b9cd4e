#pragma once

#include <memory>

#include "mixers/mixer.h"

namespace recallbench {

enum class BaseConvForm { short_filter, long_explicit, long_implicit };

struct BaseConvOptions {
  BaseConvForm form = BaseConvForm::short_filter;
  Index kernel_size = 3;  ///< of the short filter
  Index l_max = 1024;     ///< of the long ones
  bool use_act = false;
};

/// The definition: see decoder.cpp.
std::unique_ptr<Decoder> make_base_conv_decoder(const BaseConvOptions& options,
                                                const MixerContext& context,
                                                const HostParameters& parameters, Index length);

}  // namespace recallbench
