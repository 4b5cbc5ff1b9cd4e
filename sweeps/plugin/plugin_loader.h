#pragma once

#include <string>
#include <vector>

namespace recallbench {

/// Loads the mixers of plugins into mixer_registry(), each with its file as `origin`. A file is
/// first tried in a forked child with a time limit, so that one that is truncated, lacks a symbol,
/// crashes while it loads, hangs or throws costs nothing but its refusal: Error(plugin), one line.
/// Refused too: another build fingerprint (both are named), no entry, no mixer, a mixer name that
/// is taken, empty, long or no line of text; and in a static build every file.
void load_plugins(const std::vector<std::string>& files);

}  // namespace recallbench
