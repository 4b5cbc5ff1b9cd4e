#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor/device.h"
#include "sweeps/config/run_config.h"

namespace recallbench {

/// Floating-point operations of a run that goes through all its epochs, roughly: good for an order
/// and for "minutes or hours", not for more. Early stopping ends most runs sooner.
///   epochs * (3 forward(train) + forward(validation)) + forward(test)
///   forward(data) = tokens * n_layers * (12 d^2 + 2 d L) * 2 + labels * 2 d V
/// Under compat test data are the validation data, and not gone through again.
double estimated_work(const RunConfig& config);

/// What a training step takes on an H200 however small it is, in ms; runs that train together share
/// it.
inline constexpr double kGpuStepMs = 0.17;

/// How many runs of this one's shape should train together: on the CPU 1, for its cores take runs
/// side by side; on a GPU as many as were measured to pay.
std::int64_t population_size(const RunConfig& config, Device device);

/// Indices of `work`, largest first, equal ones in their order: the longest runs start first, so
/// that no long one is left alone at the end.
std::vector<std::size_t> longest_first(const std::vector<double>& work);

/// Threads for the next child, so that `waiting` >= 1 runs share `free_cores` >= 1: one each
/// while runs are many, all for a lone run.
int threads_for_next(int free_cores, std::int64_t waiting);

}  // namespace recallbench
