#pragma once

#include "kernels/sigmoid_decay/sigmoid_decay.h"

namespace recallbench {

/// g of sigmoid_decay.h for one number.
double sigmoid_decay_reference(double x, const SigmoidDecayOptions& options);

}  // namespace recallbench
