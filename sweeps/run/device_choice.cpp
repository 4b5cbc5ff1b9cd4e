#include "sweeps/run/device_choice.h"

#include <charconv>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/text.h"
#include "kernels/cuda/runtime.h"

namespace recallbench {
namespace {

constexpr std::string_view kPrefix = "cuda:";

/// -1 where `text` is no number.
int gpu_number(std::string_view text) {
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : -1;
}

}  // namespace

DeviceChoice choose_device(const std::string& text) {
  if (text == "cpu") return {};
  const bool one = text.starts_with(kPrefix);
  const int number = one ? gpu_number(std::string_view(text).substr(kPrefix.size())) : 0;
  if ((text != "cuda" && !one) || number < 0)
    fail(ErrorKind::usage, "device",
         "--device must be cpu, cuda or cuda:N (a GPU's number), got '{}'", printable(text));
  if (!kCudaBuild)
    fail(ErrorKind::usage, "device",
         "this program is built without CUDA and uses no GPU; use --device cpu, or the program "
         "that `./bootstrap build cuda` makes");
  const int count = cuda_device_count();
  if (count == 0)
    fail(ErrorKind::usage, "device",
         "--device {} needs an NVIDIA GPU with its driver, and none answers here; use --device "
         "cpu, or see `recallbench doctor`",
         text);
  if (number >= count)
    fail(ErrorKind::usage, "device", "there is no GPU {}; this machine has {}: 0 to {}", number,
         count, count - 1);
  DeviceChoice choice{Device::cuda, {number}};
  if (!one) {
    choice.gpus.resize(static_cast<std::size_t>(count));
    std::iota(choice.gpus.begin(), choice.gpus.end(), 0);
  }
  return choice;
}

void keep_open([[maybe_unused]] const std::vector<int>& gpus) {
  if constexpr (kCudaBuild)
    for (const int gpu : gpus)
      cuda_keep_open(gpu);
}

}  // namespace recallbench
