#pragma once

#include <cstddef>

namespace recallbench {

/// Shared memory of kernels. GPUs differ: a block may have 163 KB of it at compute 8.0, 99 KB at
/// 8.6 and 8.9, 227 KB at 9.0, all beyond 48 KB only for a kernel that asked.

/// Bytes that one block may have on the chosen GPU, what a kernel declares by itself among them.
std::size_t cuda_shared_limit();

/// What the two templates below do, for a kernel's address.
void cuda_allow_shared_at(const void* kernel, std::size_t bytes, const char* operation);
void cuda_prefer_shared_at(const void* kernel);

/// Before a launch with `bytes` of dynamic shared memory: lets blocks of `kernel` have them, and
/// takes nothing back that was allowed before, since captured work may need it. A GPU that has
/// less is an Error(usage): `operation`, what its blocks need, what they may have, what to do.
template <class Kernel>
void cuda_allow_shared(Kernel* kernel, std::size_t bytes, const char* operation) {
  cuda_allow_shared_at(reinterpret_cast<const void*>(kernel), bytes, operation);
}

/// Leaves a multiprocessor's memory to as many blocks of `kernel` as it can hold, not to its cache.
template <class Kernel>
void cuda_prefer_shared(Kernel* kernel) {
  cuda_prefer_shared_at(reinterpret_cast<const void*>(kernel));
}

}  // namespace recallbench
