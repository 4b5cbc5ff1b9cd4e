#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace recallbench {

/// XXH3, 64 bits, seed 0.
std::uint64_t xxh3_64(std::string_view bytes);

/// XXH3, 128 bits, seed 0, as 32 hexadecimal digits in the canonical order (high half first, as
/// `xxhsum -H2` prints it).
std::string xxh3_128_hex(std::string_view bytes);

}  // namespace recallbench
