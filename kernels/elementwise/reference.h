#pragma once

#include "kernels/elementwise/elementwise.h"

namespace recallbench {

/// f(x), by the formula in elementwise.h.
double activation_reference(Activation f, double x);

}  // namespace recallbench
