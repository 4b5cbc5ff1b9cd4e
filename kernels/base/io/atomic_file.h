#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernels/base/error.h"

namespace recallbench {

/// Makes `bytes` the content of `path`, whole or not at all, whatever process is killed: written
/// to `.<name>.tmp.<pid>` in the same folder, synced, renamed, folder synced. What stood there is
/// replaced (a symbolic link itself, not its target). The folder must exist. On any error the
/// temporary file is removed and Error(io) thrown, with path, operation, reason and remedy. Any
/// thread may call it at any time.
void publish(const std::string& path, std::string_view bytes);

/// The same for content that lies in pieces.
void publish(const std::string& path, std::span<const std::string_view> pieces);

/// The whole content of a regular file of at most `max_bytes`; throws Error(kind).
std::string read_file(const std::string& path, std::uint64_t max_bytes,
                      ErrorKind kind = ErrorKind::io);

/// Creates a folder and those above it, where they are missing, and syncs what it created;
/// throws Error(io).
void make_directories(const std::string& path);

/// True if something, of whatever kind, has this path; throws Error(io) where that cannot be told.
bool path_exists(const std::string& path);

/// Removes from `folder` what publishers that died left there: temporary files whose process is
/// gone, or is this one under a number used before. Returns how many. Call it while no thread of
/// this process publishes there and, on a folder that machines share, under that folder's lock
/// (another machine's process looks dead here). Throws Error(io).
int remove_leftovers(const std::string& folder);

}  // namespace recallbench
