#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// B, L, C, N of a selective_scan.
struct ScanSize {
  Index examples, length, channels, states;
};

template <class T>
struct ScanViews {
  Batched<T> x, dt, a_log, b, c, d;
};
template <class T>
struct ScanGradients {
  Gradient<T> x, dt, a_log, b, c, d;
};

/// States that training keeps for an example, and the numbers of one: all channels, padded.
Index scan_checkpoints(const ScanSize& size);
Index scan_state_numbers(const ScanSize& size);
Index scan_forward_scratch(const ScanSize& size);
Index scan_backward_scratch(const ScanSize& size);

/// CPU twins of selective_scan; its scratch holds the numbers that the functions above say.
/// `checkpoints` [R, B, scan_checkpoints, scan_state_numbers] is written where it has memory.
template <class T>
void selective_scan_forward_cpu(const ScanSize& size, const ScanViews<T>& in, const Batched<T>& y,
                                const Batched<T>& checkpoints, T* scratch);
template <class T>
void selective_scan_backward_cpu(const ScanSize& size, const ScanViews<T>& in,
                                 const Batched<T>& checkpoints, const Batched<T>& dy,
                                 const ScanGradients<T>& gradients, T* scratch);

}  // namespace recallbench
