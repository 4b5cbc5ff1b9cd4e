#include "kernels/cuda/branch.h"

#include <cuda_runtime_api.h>

#include <array>

#include "kernels/cuda/runtime.h"

namespace recallbench {
namespace {

/// Events are recorded anew before every wait, so one of each kind serves all forks and joins.
struct Side {
  cudaStream_t stream = nullptr;
  cudaEvent_t forked = nullptr, joined = nullptr;
};

/// What outlives its operation gives way to the line; what an operation waits for does not.
Side make_side(Branch branch) {
  int least = 0, greatest = 0;
  cuda_check(cudaDeviceGetStreamPriorityRange(&least, &greatest),
             "cudaDeviceGetStreamPriorityRange");
  Side side;
  cuda_check(cudaStreamCreateWithPriority(&side.stream, cudaStreamNonBlocking,
                                          branch == Branch::pass ? least : greatest),
             "cudaStreamCreate");
  for (cudaEvent_t* event : {&side.forked, &side.joined})
    cuda_check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cudaEventCreate");
  return side;
}

const Side& side_of(Branch branch) {
  static const std::array<Side, 2> sides{make_side(Branch::operation), make_side(Branch::pass)};
  return sides[branch == Branch::pass ? 1 : 0];
}

/// What `later` gets from now on comes after all that `earlier` has.
void order(cudaStream_t earlier, cudaEvent_t event, cudaStream_t later) {
  cuda_check(cudaEventRecord(event, earlier), "cudaEventRecord");
  cuda_check(cudaStreamWaitEvent(later, event, 0), "cudaStreamWaitEvent");
}

}  // namespace

CudaCall cuda_fork(const CudaCall& call, Branch branch) {
  const Side& side = side_of(branch);
  order(call.stream, side.forked, side.stream);
  CudaCall beside = call;
  beside.stream = side.stream;
  return beside;
}

void cuda_join(const CudaCall& call, Branch branch) {
  const Side& side = side_of(branch);
  order(side.stream, side.joined, call.stream);
}

}  // namespace recallbench
