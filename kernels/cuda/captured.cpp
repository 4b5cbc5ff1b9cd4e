#include "kernels/cuda/captured.h"

#include <cuda_runtime_api.h>

#include "kernels/cuda/runtime.h"

namespace recallbench {

CapturedWork::CapturedWork(const std::function<void()>& enqueue) {
  cudaGraph_t graph = nullptr;
  cuda_check(cudaStreamBeginCapture(cuda_stream(), cudaStreamCaptureModeThreadLocal),
             "cudaStreamBeginCapture");
  try {
    enqueue();
  } catch (...) {
    cudaStreamEndCapture(cuda_stream(), &graph);
    cudaGraphDestroy(graph);
    throw;
  }
  cuda_check(cudaStreamEndCapture(cuda_stream(), &graph), "cudaStreamEndCapture");
  const cudaError_t code =
      cudaGraphInstantiate(&work_, graph, cudaGraphInstantiateFlagUseNodePriority);
  cudaGraphDestroy(graph);
  cuda_check(code, "cudaGraphInstantiate");
}

CapturedWork::~CapturedWork() {
  if (work_ != nullptr) cudaGraphExecDestroy(work_);
}

void CapturedWork::launch() const {
  cuda_check(cudaGraphLaunch(work_, cuda_stream()), "cudaGraphLaunch");
}

}  // namespace recallbench
