#include "sweeps/config/describe.h"

#include <cmath>
#include <cstdint>
#include <optional>

#include "mixers/registry.h"
#include "sweeps/config/declare_only.h"
#include "tasks/task.h"

namespace recallbench {
namespace {

/// For a key without a default, so that those which are declared behind it are seen too.
std::optional<Value> stand_in(const OptionInfo& info) {
  if (info.fallback) return std::nullopt;
  const double least = std::isfinite(info.min) ? info.min : 0;
  switch (info.kind) {
    case OptionKind::integer:
    case OptionKind::length:
      return static_cast<std::int64_t>(least);
    case OptionKind::number:
      return least;
    case OptionKind::boolean:
      return false;
    case OptionKind::text:
      return info.allowed.empty() ? std::string() : info.allowed.front();
    case OptionKind::integers:
      return std::vector<std::int64_t>{static_cast<std::int64_t>(least)};
  }
  return std::nullopt;
}

template <class Make>
std::vector<OptionInfo> parameters_of(const std::string& who, const Make& make) {
  Options options(who);
  options.supply(stand_in);
  try {
    make(options);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;  // a stand-in does not do, as expected
  }
  return options.described();
}

}  // namespace

std::vector<Description> describe_mixers() {
  std::vector<Description> all;
  const MixerRegistry& mixers = mixer_registry();
  for (const std::string& name : mixers.names()) {
    const MixerEntry& entry = mixers.find(name);
    MixerContext context;
    context.n_layers = 2;
    context.transformer_block = entry.block == "transformer";
    DeclareOnly declared;
    all.push_back({name, entry.summary, entry.origin,
                   parameters_of("mixer '" + name + "'",
                                 [&](Options& options) { entry.make(context, options, declared); }),
                   entry.deviations});
  }
  return all;
}

std::vector<Description> describe_tasks() {
  std::vector<Description> all;
  const TaskRegistry& tasks = builtin_tasks();
  for (const std::string& name : tasks.names()) {
    const TaskEntry& entry = tasks.find(name);
    all.push_back(
        {name, entry.summary, "",
         parameters_of("task '" + name + "'", [&](Options& options) { entry.make(options); })});
  }
  return all;
}

}  // namespace recallbench
