#include <unistd.h>

#include <iostream>
#include <iterator>
#include <memory>

#include "kernels/cuda/runtime.h"
#include "sweeps/cli/cli.h"
#include "sweeps/run/child.h"
#include "sweeps/run/worker.h"

namespace recallbench {

void add_worker(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand(
      "worker",
      "Train the runs whose configurations (JSON, a line each) come in on standard input");
  command->group("");  // hidden
  const auto options = std::make_shared<WorkerOptions>();
  command->add_option("--results", options->results)->required();
  command->add_option("--threads", options->threads)->check(CLI::Range(1, 4096));
  command->add_option("--parent", options->parent);
  command->add_flag("--record-host", options->record_host);
  command->callback([&line, options] {
    line.action = [&line, options] {
      options->device = use_device(line.common);
      if constexpr (kCudaBuild)
        if (options->device == Device::cuda) options->device_kind = cuda_device_name();
      // Only a parent knows that these descriptors are pipes to it.
      if (options->parent != 0) {
        options->messages = kMessageDescriptor;
        options->turn = kTurnDescriptor;
      }
      const std::string configs(std::istreambuf_iterator<char>(std::cin), {});
      return run_worker(configs, *options, population_trainer(*options));
    };
  });
}

}  // namespace recallbench
