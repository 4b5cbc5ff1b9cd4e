#pragma once

namespace recallbench {

/// Where a tensor's memory is and its operations run. A process uses one GPU.
enum class Device { cpu, cuda };

/// What the inputs of matrix products are rounded to on a GPU; sums, norms, softmax, states and
/// the optimizer stay float32. The CPU knows fp32 alone.
enum class Precision { fp32, tf32, bf16 };

#ifdef RECALLBENCH_CUDA
inline constexpr bool kCudaBuild = true;
#else
inline constexpr bool kCudaBuild = false;
#endif

}  // namespace recallbench
