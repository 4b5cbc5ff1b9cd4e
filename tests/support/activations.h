#pragma once

#include "kernels/elementwise/elementwise.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {

/// Of softplus, its gate and their gradients at 1000 places in [-20, -5]: the largest relative
/// error of a number, against log1p in double; NaN is infinite.
template <class T>
double error_of_small_softplus(Placement placement);

}  // namespace recallbench::testing
