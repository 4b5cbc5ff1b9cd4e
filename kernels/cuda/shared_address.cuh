#pragma once

#include <cstdint>

namespace recallbench {

/// Where `p`, in shared memory, lies there: what instructions on shared memory take.
__device__ inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

}  // namespace recallbench
