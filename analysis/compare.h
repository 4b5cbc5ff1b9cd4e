#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/published.h"
#include "analysis/selection.h"
#include "analysis/summary.h"
#include "analysis/table.h"

namespace recallbench {

inline constexpr std::int64_t kPublishedLength = 1024;  ///< tokens of the published longest test

/// A published point and the model point that stands where it does.
struct ComparedPoint {
  std::string family, model;
  double state_bytes;  ///< by the published formula, as computed here
  double published, here;
  bool holds;  ///< here >= published - tolerance
};

/// Each published point beside the point of its family (family_of) whose published state lies
/// nearest, the better of two as near, within 3 %: as far as states are read off a figure. Models
/// that were tested up to another length than the 1024 tokens of the published figure had another
/// task, and are left out. By rising state within a family; what has no partner on either side is
/// left out. `here` is the point's chosen setting on validation data, as the published figures
/// choose.
std::vector<ComparedPoint> compare_with_published(const std::vector<ModelPoint>& points,
                                                  const std::vector<PublishedPoint>& published,
                                                  double tolerance);

/// What sets apart the task of these runs, drawn by column `y` ("test": accuracy on test data),
/// from that of the published points (MQAR over 8192 words up to 1024 tokens); a line each.
std::vector<std::string> differences_from_published(const std::vector<SummaryRow>& rows,
                                                    const std::string& y);

/// model, state_size, published, here, difference, holds.
Table comparison_table(const std::vector<ComparedPoint>& points);

}  // namespace recallbench
