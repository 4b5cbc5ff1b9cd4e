#pragma once

#include <utility>
#include <vector>

#include "tests/support/run_case.h"

namespace recallbench::testing {

/// Every two inputs of the case that have one shape.
std::vector<std::pair<std::size_t, std::size_t>> inputs_of_one_shape(const OpCase& c);

/// One tensor, a value of the graph, read as both inputs: the largest error of an output, and of a
/// gradient, where that of the tensor is the sum of two tensors' with the same numbers.
template <class T>
double error_where_inputs_are_one(const OpCase& c, std::pair<std::size_t, std::size_t> inputs,
                                  Placement placement = {});

}  // namespace recallbench::testing
