#include "sweeps/run/waiting.h"

#include <algorithm>

namespace recallbench {

void Waiting::put_back_for_free_gpu(const Group& group) {
  put_back(group);
  not_ahead_.insert(group.begin(), group.end());
}

std::optional<Group> Waiting::take(bool must_wait) {
  const auto next = std::find_if(groups_.begin(), groups_.end(), [&](const Group& group) {
    return !must_wait || !not_ahead_.contains(group.front());
  });
  if (next == groups_.end()) return std::nullopt;
  Group group = std::move(*next);
  groups_.erase(next);
  return group;
}

}  // namespace recallbench
