#include <fmt/format.h>

#include <memory>

#include "kernels/base/io/json.h"
#include "kernels/base/text.h"
#include "sweeps/cli/cli.h"
#include "sweeps/cli/number_in.h"
#include "sweeps/forward/forward_model.h"

namespace recallbench {

void add_forward(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand(
      "forward", "Logits, loss, gradients and a training trace for given weights");
  command->footer(
      "Example:\n  recallbench forward model.toml --weights weights.safetensors --inputs "
      "inputs.npy "
      "--labels labels.npy --out out");
  auto request = std::make_shared<ForwardRequest>();
  command->add_option("model", request->model, "Model configuration: a TOML file with [model]")
      ->required();
  command->add_option("--weights", request->weights, "Weights, a .safetensors file")->required();
  command->add_option("--inputs", request->inputs, "Tokens, an integer .npy [B, L]")->required();
  command->add_option("--labels", request->labels, "Labels, the same, -100 where nothing is asked");
  command->add_option("--out", request->out, "Folder to write to")->required();
  command->add_option("--train-steps", request->train_steps, "AdamW steps on this one batch")
      ->check(number_in(0, 1000000));
  command->add_option("--lr", request->lr, "Learning rate of these steps")
      ->check(CLI::PositiveNumber);
  command->add_option("--weight-decay", request->weight_decay, "Weight decay of these steps")
      ->check(CLI::NonNegativeNumber);
  command->callback([&line, request] {
    line.action = [&line, request] {
      request->device = use_device(line.common);
      Json document;
      document["files"] = Json::list(forward_model(*request));
      if (line.common.json) fmt::print("{}", document.indented());
      if (!line.common.quiet) fmt::print(stderr, "written to {}\n", printable(request->out, 4096));
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace recallbench
