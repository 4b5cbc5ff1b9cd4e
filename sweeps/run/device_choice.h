#pragma once

#include <string>
#include <vector>

#include "kernels/tensor/device.h"

namespace recallbench {

/// What `--device` means: the CPU, or GPUs of this machine.
struct DeviceChoice {
  Device device = Device::cpu;
  std::vector<int> gpus;  ///< empty on the CPU
};

/// "cpu", "cuda" (every GPU that this process may use) or "cuda:1". Throws Error(usage) on another
/// text, in a build without CUDA and where that GPU is not there, and says what to do.
DeviceChoice choose_device(const std::string& text);

/// For a process whose children come and go on these GPUs: keeps each open, so that none is shut
/// down and started again between two of them.
void keep_open(const std::vector<int>& gpus);

}  // namespace recallbench
