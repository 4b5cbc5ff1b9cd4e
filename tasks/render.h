#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tasks/task.h"

namespace recallbench {

struct RenderOptions {
  bool color = false;  ///< by ANSI colours; else by brackets
  int width = 96;      ///< columns to wrap at
};

/// One line that explains the marks of render_example.
std::string render_legend(const RenderOptions& options);

/// One example for people, several lines, each beginning with the position of its first token.
/// Keys <8>, values {15}, queries with their answer [8->15], fillers and others bare; a run of four
/// or more equal fillers is drawn as 0*12. `inputs`, `labels` and `roles` are [L].
std::string render_example(std::span<const std::int32_t> inputs,
                           std::span<const std::int32_t> labels, std::span<const Role> roles,
                           const RenderOptions& options);

}  // namespace recallbench
