#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// Each of `groups` equal parts of a row normalised by itself, then weighted channel by channel:
///   y = (x - mean) / sqrt(var + eps) ⊙ weight + bias,   mean and var (1/n) of the channel's group.
/// x [R, ..., D]; weight, bias [R, 1, D] → the same shape. Wu, He, "Group normalization", 2018.
Tensor group_norm(Graph& graph, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  Index groups, double eps);

}  // namespace recallbench
