#pragma once

#include "kernels/elementwise/elementwise.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {

std::vector<Activation> all_activations();

/// Of softplus, its gate and their gradients at 1000 places in [-20, -5]: the largest relative
/// error of a number, against log1p in double; NaN is infinite.
template <class T>
double error_of_small_softplus(Placement placement);

/// Whether f of a NaN is NaN, and of its neighbours is not, at every place of a row of 37.
template <class T>
bool keeps_nan(Activation f, Placement placement);

}  // namespace recallbench::testing
