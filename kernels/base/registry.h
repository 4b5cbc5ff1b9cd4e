#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/names.h"

namespace recallbench {

/// Named entries of one kind ("mixer", "task"), filled by explicit calls. A second entry of one
/// name is an error; an unknown name lists the known ones.
template <class Entry>
class Registry {
 public:
  explicit Registry(std::string kind) : kind_(std::move(kind)) {}

  void add(const std::string& name, Entry entry) {
    if (!entries_.emplace(name, std::move(entry)).second)
      fail(ErrorKind::usage, kind_, "'{}' is registered twice; rename one of the two", name);
  }

  const Entry& find(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end())
      fail(ErrorKind::usage, kind_, "there is no {} '{}'{}", kind_, name, hint_for(name, names()));
    return found->second;
  }

  bool contains(const std::string& name) const { return entries_.count(name) != 0; }

  /// In alphabetical order.
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [name, entry] : entries_)
      all.push_back(name);
    return all;
  }

 private:
  std::string kind_;
  std::map<std::string, Entry> entries_;
};

}  // namespace recallbench
