#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "sweeps/run/running.h"

namespace recallbench {

/// Children by a number of their own. On each GPU one has its turn, and one prepares itself.
using Children = std::map<int, Running>;

bool gpu_is_free(const Children& children, int gpu);

/// Runs of those whose turn it is; the others are not under way yet, or have but to end.
std::int64_t runs_in_turn(const Children& children);

/// Threads of all together.
int threads_of(const Children& children);

/// Ends the child: SIGTERM, that it saves what it has; ahead of its turn it has nothing, may be
/// deep in its preparation, and gets SIGKILL.
void stop_child(const Running& child);
void stop_children(const Children& children);
void kill_children(const Children& children);

/// Where a child can be started; `waits`: for its turn.
struct Place {
  int gpu = -1;
  bool waits = false;
};

/// A GPU that is free, else one for which no child prepares itself; none where there is neither.
std::optional<Place> next_place(const Children& children, const std::vector<int>& gpus);

/// Where nothing is left to start: the children that wait for one GPU while another is free, to be
/// stopped and started there.
std::vector<int> children_to_recall(const Children& children, const std::vector<int>& gpus);

}  // namespace recallbench
