#pragma once

#include <functional>
#include <optional>

#include "kernels/base/io/posix.h"

namespace recallbench {

/// A child of a GPU prepares itself while another trains there, then waits for its turn on a pipe
/// into which its driver writes once. A driver that ends without that takes the turn away.

/// Tells the child that the GPU is its own from now on, and closes the pipe; false where the child
/// has ended. Throws Error(io).
bool give_turn(FileDescriptor& pipe);

/// Waits for the turn: when it was given, in seconds of the monotonic clock. Nothing where it never
/// comes, or `stop_requested` says so; a signal to this process is answered at once.
std::optional<double> wait_for_turn(int pipe, const std::function<bool()>& stop_requested);

}  // namespace recallbench
