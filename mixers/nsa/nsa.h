#pragma once

#include <memory>

#include "mixers/mixer.h"

namespace recallbench {

/// What a layer of native sparse attention is.
struct NsaConfig {
  Index d_model = 0, heads = 1, kv_heads = 1;
  Index block = 8;             ///< tokens that are compressed into one, and chosen together
  Index choices = 4;           ///< blocks that a token chooses
  Index memory = 1;            ///< compressed pairs that are always there
  Index window = 16;           ///< as configured
  Index back = 16, ahead = 0;  ///< tokens that it shows besides one's own
  double expand = 1;           ///< hidden numbers of the compressing networks, over their inputs
  bool norm = true;
  bool zoology = false;
  bool share_choice = true;  ///< the query heads of a key head choose together

  Index head_dim() const { return d_model / heads; }
  Index kv_dim() const { return kv_heads * head_dim(); }
  Index hidden() const {
    return static_cast<Index>(expand * static_cast<double>(block * head_dim()));
  }
};

/// RMSNorm's eps: the spacing of float32 at 1.
inline constexpr double kNsaEps = 1.1920928955078125e-07;

/// The definition: see decoder.cpp.
std::unique_ptr<Decoder> make_nsa_decoder(const NsaConfig& config,
                                          const HostParameters& parameters);

}  // namespace recallbench
