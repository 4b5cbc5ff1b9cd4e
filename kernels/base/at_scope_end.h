#pragma once

namespace recallbench {

/// Calls `end` where its scope ends, by what is thrown too: const AtScopeEnd back{[] { ... }};
template <class End>
struct AtScopeEnd {
  End end;
  ~AtScopeEnd() { end(); }
};
template <class End>
AtScopeEnd(End) -> AtScopeEnd<End>;

}  // namespace recallbench
