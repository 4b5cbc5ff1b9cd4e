#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "analysis/tool.h"

namespace recallbench {

/// Whether a program `gnuplot` is on the PATH.
bool gnuplot_available();

/// Runs `gnuplot ARGUMENTS` in `directory`, without a shell, without the user's start-up files and
/// in a locale with "." decimals; returns what it wrote to its standard output. Throws Error(io)
/// where it cannot be started (naming the package that brings it), ends with an error (with its
/// message) or has not ended after `limit`.
std::string run_gnuplot(const std::string& directory, const std::vector<std::string>& arguments,
                        std::chrono::milliseconds limit = kToolLimit);

}  // namespace recallbench
