#pragma once

#include <string>
#include <vector>

namespace recallbench {

/// What a program left.
struct ToolOutput {
  std::string output, messages;  ///< what it wrote to its standard output and error
  std::string problem;           ///< "ended with status 1"; empty if it ended well
};

/// Whether a program of that name is on the PATH.
bool tool_available(const std::string& name);

/// Runs a program of the PATH, `command[0]`, in `directory`: without a shell, without input, and in
/// a locale with "." decimals and UTF-8 whatever the user's is. Throws Error(io) where it cannot be
/// started.
ToolOutput run_tool(const std::string& directory, const std::vector<std::string>& command);

}  // namespace recallbench
