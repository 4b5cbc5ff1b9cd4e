#pragma once

#include "kernels/cuda/call.h"

namespace recallbench {

/// A stream beside the process' one, for work that need not stand in line. What is enqueued on a
/// branch comes after all that the line had when it was forked, and runs at the same time as what
/// the line gets from then on, until the line joins it. Captured, both are edges of the graph.
enum class Branch {
  operation,  ///< forked and joined within an operation
  pass,       ///< of a Graph, for what outlives its operation: Execution::beside
};

/// The call for what runs on the branch. A branch that is open already goes on, with what the line
/// has got since before it. Products by gemm_cuda share a workspace: they stay in line.
CudaCall cuda_fork(const CudaCall& call, Branch branch);
/// All that `call` enqueues from now on comes after all of the branch.
void cuda_join(const CudaCall& call, Branch branch);

}  // namespace recallbench
