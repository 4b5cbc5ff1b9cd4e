#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>

#include "sweeps/run/running.h"

namespace recallbench {

/// Runs that are to be started: groups, the next one first.
class Waiting {
 public:
  explicit Waiting(std::deque<Group> groups = {}) : groups_(std::move(groups)) {}

  bool empty() const { return groups_.empty(); }
  std::int64_t size() const { return std::ssize(groups_); }

  /// Behind all others.
  void add(const Group& group) { groups_.push_back(group); }
  /// Before all others.
  void put_back(const Group& group) { groups_.push_front(group); }
  /// The same, and from now on none of these runs is started to wait for a GPU.
  void put_back_for_free_gpu(const Group& group);

  /// Takes out the first that can be started where it must wait for its turn, or need not.
  std::optional<Group> take(bool must_wait);

 private:
  std::deque<Group> groups_;
  std::set<const Job*> not_ahead_;
};

}  // namespace recallbench
