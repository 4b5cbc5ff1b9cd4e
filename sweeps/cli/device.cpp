#include "kernels/cuda/runtime.h"
#include "sweeps/cli/cli.h"
#include "sweeps/run/device_choice.h"

namespace recallbench {

Device use_device(const CommonOptions& common) {
  const DeviceChoice choice = choose_device(common.device);
  if constexpr (kCudaBuild)
    if (choice.device == Device::cuda) cuda_select_device(choice.gpus.front());
  return choice.device;
}

}  // namespace recallbench
