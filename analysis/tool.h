#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace recallbench {

/// What a program left.
struct ToolOutput {
  std::string output, messages;  ///< what it wrote to its standard output and error
  std::string problem;           ///< "ended with status 1"; empty if it ended well
};

/// How long a program may take that draws a figure or lists fonts. A figure takes a second; on a
/// slow machine, whose fonts no program has listed before, half a minute.
inline constexpr std::chrono::milliseconds kToolLimit = std::chrono::minutes(2);

/// Whether a program of that name is on the PATH.
bool tool_available(const std::string& name);

/// Runs a program of the PATH, `command[0]`, in `directory`: without a shell, without input, and in
/// a locale with "." decimals and UTF-8 whatever the user's is. After `limit` it is killed, which
/// is a problem of its output; so is a child of it that still holds that open. Throws Error(io)
/// where it cannot be started.
ToolOutput run_tool(const std::string& directory, const std::vector<std::string>& command,
                    std::chrono::milliseconds limit);

}  // namespace recallbench
