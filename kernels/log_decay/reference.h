#pragma once

#include "kernels/log_decay/log_decay.h"

namespace recallbench {

/// g of log_decay.h for one number.
double log_decay_reference(double x, const LogDecayOptions& options);

}  // namespace recallbench
