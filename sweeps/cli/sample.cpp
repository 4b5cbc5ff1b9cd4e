#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/json.h"
#include "kernels/base/io/npy.h"
#include "kernels/base/io/terminal.h"
#include "sweeps/cli/cli.h"
#include "sweeps/cli/key_value.h"
#include "sweeps/cli/number_in.h"
#include "tasks/render.h"
#include "tasks/segment.h"
#include "tasks/task.h"

namespace recallbench {
namespace {

struct SampleArguments {
  std::string task;
  std::vector<std::string> parameters;
  std::uint64_t seed = 1;
  std::string split = "train";
  std::int64_t count = 1;
  std::int64_t index = 0;
  bool compat = false;
  std::uint32_t filler_seed = 123;
  std::string out;
};

Split split_named(const std::string& name) {
  return name == "train" ? Split::train : (name == "valid" ? Split::valid : Split::test);
}

/// Examples [index, index + count) of the segment.
SegmentData make_examples(const SampleArguments& arguments, const TaskEntry& entry,
                          const Task& task, Options& options) {
  const auto length = static_cast<std::size_t>(task.shape().input_seq_len);
  const auto first = static_cast<std::size_t>(arguments.index);
  const auto count = static_cast<std::size_t>(arguments.count);
  SegmentData data;
  if (arguments.compat) {
    if (!entry.generate_compat) {
      fail(ErrorKind::usage, "sample",
           "task '{}' has no reference to be compatible with; leave "
           "--compat out",
           arguments.task);
    }
    if (arguments.seed > 0xffffffffu) {
      fail(ErrorKind::usage, "sample",
           "--seed must be below 2^32 with --compat, came {}; take a "
           "smaller one",
           arguments.seed);
    }
    std::mt19937 fillers(arguments.filler_seed);
    data = entry.generate_compat(options, static_cast<std::uint32_t>(arguments.seed), fillers,
                                 arguments.index + arguments.count, {});
    for (auto* numbers : {&data.inputs, &data.labels}) {
      const auto begin = numbers->begin();
      numbers->erase(begin, begin + static_cast<std::ptrdiff_t>(first * length));
    }
    return data;
  }
  data.inputs.resize(count * length);
  data.labels.resize(count * length);
  task.generate(segment_seed(arguments.seed, split_named(arguments.split), 0), arguments.index,
                arguments.count, data.inputs.data(), data.labels.data());
  return data;
}

void print_examples(const SampleArguments& arguments, const Task& task, const SegmentData& data,
                    bool color) {
  const auto length = static_cast<std::size_t>(task.shape().input_seq_len);
  RenderOptions render;
  render.color = color;
  std::string out = fmt::format("{}: vocab_size {}", arguments.task, task.shape().vocab_size);
  for (const Slice& slice : task.slices())
    out += fmt::format(", {} {}", slice.key, slice.value);
  out += fmt::format(", chance {:.3g}\n{}\n", task.chance(), render_legend(render));
  for (std::int64_t e = 0; e < arguments.count; ++e) {
    const std::size_t row = static_cast<std::size_t>(e) * length;
    const std::span<const std::int32_t> inputs(data.inputs.data() + row, length);
    const std::span<const std::int32_t> labels(data.labels.data() + row, length);
    out += fmt::format("\nexample {}\n", arguments.index + e);
    out += render_example(inputs, labels, task.roles(inputs, labels), render);
  }
  fmt::print("{}", out);
}

/// A list of the examples, each on a line: many would not fit into memory as one document.
void print_json(const SampleArguments& arguments, const Task& task, const SegmentData& data) {
  const std::int64_t length = task.shape().input_seq_len;
  for (std::int64_t e = 0; e < arguments.count; ++e) {
    const auto row = [&](const std::vector<std::int32_t>& numbers) {
      const auto begin = numbers.begin() + e * length;
      return Json::list(std::vector<std::int32_t>(begin, begin + length));
    };
    Json example;
    example["index"] = arguments.index + e;
    example["inputs"] = row(data.inputs);
    example["labels"] = row(data.labels);
    fmt::print("{}{}", e == 0 ? "[" : ",\n", example.compact());
  }
  fmt::print("]\n");
}

/// The paths of the two files.
std::vector<std::string> export_examples(const SampleArguments& arguments, const Task& task,
                                         const SegmentData& data) {
  const std::vector<std::int64_t> shape = {arguments.count, task.shape().input_seq_len};
  make_directories(arguments.out);
  std::vector<std::string> files;
  for (const auto& [name, numbers] :
       {std::pair{"inputs", &data.inputs}, {"labels", &data.labels}}) {
    const std::vector<std::int64_t> wide(numbers->begin(), numbers->end());
    files.push_back(fmt::format("{}/{}.npy", arguments.out, name));
    write_npy<std::int64_t>(files.back(), shape, wide);
  }
  return files;
}

int sample(const SampleArguments& arguments, const CommonOptions& common) {
  const TaskEntry& entry = builtin_tasks().find(arguments.task);
  Options options =
      options_from_words(fmt::format("task '{}'", arguments.task), arguments.parameters);
  const std::unique_ptr<Task> task = entry.make(options);
  options.finish();
  // A reference segment is made from its beginning.
  const std::int64_t made = arguments.count + (arguments.compat ? arguments.index : 0);
  constexpr std::int64_t kMostTokens = std::int64_t{1} << 31;
  if (made > kMostTokens / task->shape().input_seq_len) {
    fail(ErrorKind::usage, "sample",
         "examples times length must be at most {} tokens, came {} x {}; lower --count{}",
         kMostTokens, made, task->shape().input_seq_len,
         arguments.compat ? " or --index" : " and export in parts by --index");
  }
  const SegmentData data = make_examples(arguments, entry, *task, options);
  if (!arguments.out.empty()) {
    Json document;
    document["files"] = Json::list(export_examples(arguments, *task, data));
    if (common.json) fmt::print("{}", document.indented());
    if (!common.quiet) {
      fmt::print(stderr, "{} examples in {}/inputs.npy and labels.npy, int64 [{}, {}]\n",
                 arguments.count, arguments.out, arguments.count, task->shape().input_seq_len);
    }
  } else if (common.json) {
    print_json(arguments, *task, data);
  } else {
    print_examples(arguments, *task, data, use_color(common.color, STDOUT_FILENO));
  }
  return kDone;
}

}  // namespace

void add_sample(CommandLine& line) {
  const auto arguments = std::make_shared<SampleArguments>();
  CLI::App* app = line.app.add_subcommand("sample", "Look at, or export, a task's examples");
  app->footer(
      "Examples:\n"
      "  recallbench sample mqar input_seq_len=64 num_kv_pairs=4 --count 3\n"
      "  recallbench sample mqar vocab_size=256 filler=zero --split test --index 10\n"
      "  recallbench sample mqar --count 1000 --out my_data\n");
  app->add_option("task", arguments->task, "A task (recallbench list tasks)")->required();
  app->add_option("parameters", arguments->parameters, "The task's own parameters: key=value ...");
  // As recipes have them: without a check a negative one would wrap around.
  app->add_option("--seed", arguments->seed,
                  "The run's seed; with --compat the segment's own (default 1)")
      ->check(number_in(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()));
  CLI::Option* split = app->add_option("--split", arguments->split, "train, valid or test")
                           ->check(CLI::IsMember({"train", "valid", "test"}));
  app->add_option("--count", arguments->count, "How many examples (default 1)")
      ->check(number_in(std::int64_t{1}, std::int64_t{1} << 32));
  app->add_option("--index", arguments->index, "The first one (default 0)")
      ->check(number_in(std::int64_t{0}, std::int64_t{1} << 40));
  CLI::Option* compat = app->add_flag("--compat", arguments->compat,
                                      "As the public reference generates a segment of "
                                      "index + count examples, bit for bit");
  app->add_option("--filler-seed", arguments->filler_seed,
                  "With --compat: of the reference's separate filler engine (default 123)")
      ->needs(compat)
      ->check(number_in(std::int64_t{0}, (std::int64_t{1} << 32) - 1));
  compat->excludes(split);
  app->add_option("--out", arguments->out, "Write inputs.npy and labels.npy (int64 [N, L]) there");
  app->callback([&line, arguments] {
    line.action = [&line, arguments] { return sample(*arguments, line.common); };
  });
}

}  // namespace recallbench
