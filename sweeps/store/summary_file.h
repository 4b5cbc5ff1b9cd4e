#pragma once

#include <string>
#include <vector>

#include "analysis/summary.h"
#include "sweeps/store/manifest.h"

namespace recallbench {

/// A row for every run of the manifest's latest request that has a result or has failed, as one has
/// whose result cannot be read; sorted by family, label, learning rate, seed and id, so that the
/// same results give the same rows however they came about. Throws Error(io).
std::vector<SummaryRow> collect_rows(const std::string& results, const Manifest& manifest);

/// Publishes RESULTS/summary.csv; returns whether its content is new. Throws Error(io).
bool write_summary_file(const std::string& results, const std::vector<SummaryRow>& rows);

}  // namespace recallbench
