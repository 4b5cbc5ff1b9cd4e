#pragma once

#include <span>
#include <vector>

#include "kernels/graph/parameters.h"

namespace recallbench {

/// Constants of AdamW (Loshchilov, Hutter, "Decoupled weight decay regularization", 2019).
struct AdamwConstants {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

/// What a step multiplies with, the same for every number of a replica.
struct AdamwRates {
  double keep;             ///< 1 - lr·wd, of parameters that decay
  double step_size;        ///< lr / (1 - β1^step)
  double root_correction;  ///< 1 / sqrt(1 - β2^step)
};
AdamwRates adamw_rates(double lr, double weight_decay, std::int64_t step,
                       const AdamwConstants& constants = {});

/// Step `step` (from 1) on the given parameters, per replica with its own rates:
///   p ← p (1 - lr·wd)   where the parameter decays
///   m ← β1 m + (1 - β1) g,   v ← β2 v + (1 - β2) g²
///   p ← p - lr (m / (1 - β1^step)) / (sqrt(v / (1 - β2^step)) + eps)
/// Parameters that are not in `updated` (they got no gradient) are left alone, by the decay too.
/// lr and weight_decay are [R].
void adamw_step(Parameters& parameters, const std::vector<Parameter>& updated,
                std::span<const double> lr, std::span<const double> weight_decay, std::int64_t step,
                const AdamwConstants& constants = {});

}  // namespace recallbench
