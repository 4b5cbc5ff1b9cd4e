#pragma once

#include <span>
#include <vector>

namespace recallbench {

/// A model as the frontier sees it: state in bytes (less is better), accuracy (more is better).
struct Candidate {
  double state;
  double accuracy;
};

/// The Pareto frontier, maximal accuracy for minimal state: for each candidate whether no other has
/// no more state, no less accuracy, and is better in one of the two. Equal candidates are on it
/// together or not at all; one that is not finite, or whose state is negative, is never on it. A
/// pure function, O(n log n).
std::vector<bool> pareto_frontier(std::span<const Candidate> candidates);

}  // namespace recallbench
