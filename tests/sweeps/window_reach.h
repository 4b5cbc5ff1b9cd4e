#pragma once

#include <cstdint>
#include <span>

#include "sweeps/config/run_config.h"
#include "tasks/dataset.h"

namespace recallbench {

/// Tokens from the last earlier place of the token at `query` to the query itself; 0 if there is
/// none. `query` is an index into `tokens`.
std::int64_t distance_to_key(std::span<const std::int32_t> tokens, std::int64_t query);

/// Whether a query `distance` tokens behind its key can be answered by one layer of attention over
/// `window` tokens (the query's own included) behind a causal convolution of `taps` >= 2 taps. The
/// convolution brings key and value, which follow each other, together at 1 to taps - 1 tokens
/// behind the key; the last such place is visible if distance - (taps - 1) < window.
bool within_reach(std::int64_t distance, std::int64_t window, std::int64_t taps);

/// The mean over examples of the share of queries within reach of their key, in [0, 1]: the
/// accuracy of a window that answers all it can see and never guesses right.
double share_within_reach(const Dataset& data, std::int64_t window, std::int64_t taps);

/// The same over all test examples of a run whose layers are a short convolution and a sliding
/// window.
double share_within_reach_of(const RunConfig& run);

}  // namespace recallbench
