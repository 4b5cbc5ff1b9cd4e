#pragma once

#include <memory>
#include <string>

#include "mixers/registry.h"

namespace recallbench {

// A mixer may be anybody's code. What it hands over is looked at here, once, so that a slip in it
// is an Error(internal) that names it, and not a crash further on.

/// Throws if a parameter cannot be one: no dimension, one below 1, no initial values; Error(usage)
/// if it has more numbers than can be counted.
void check_declaration(const ParameterSpec& spec);

/// What the factory of `name` makes, which must be a mixer.
std::unique_ptr<SequenceMixer> make_with(const MixerEntry& entry, const std::string& name,
                                         const MixerContext& context, Options& options,
                                         ParameterDeclarer& declarer);

/// `forward` of x [R, B, L, D] or, where `labels` are more than 0, `forward_rows`: of the shape
/// that was promised.
Tensor forward_of(const SequenceMixer& mixer, const std::string& name, Forward& f, const Tensor& x,
                  Index labels);

/// The decoder, which must be one.
std::unique_ptr<Decoder> decoder_of(const SequenceMixer& mixer, const std::string& name,
                                    const HostParameters& parameters, Index length);

}  // namespace recallbench
