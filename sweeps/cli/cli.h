#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "kernels/tensor/device.h"
#include "sweeps/run/exit_code.h"

namespace recallbench {

/// What every subcommand understands.
struct CommonOptions {
  bool json = false;
  bool quiet = false;
  std::string color = "auto";        ///< auto, always, never: see use_color
  std::string device = "cpu";        ///< cpu, cuda, cuda:1: see choose_device
  std::vector<std::string> plugins;  ///< files given with --plugin
};

/// The command line: each sweeps/cli/<name>.cpp adds one subcommand, whose callback sets `action`;
/// main loads the plugins, then runs the action, whose return value is the exit code.
struct CommandLine {
  CLI::App app{"Recall of sequence models against the state they carry", "recallbench"};
  CommonOptions common;
  std::function<int()> action;
};

/// The device that `--device` names, chosen for this process: of several GPUs the first.
Device use_device(const CommonOptions& common);

void add_run(CommandLine& line);
void add_sweep(CommandLine& line);
void add_status(CommandLine& line);
void add_plot(CommandLine& line);
void add_pareto(CommandLine& line);
void add_compare(CommandLine& line);
void add_list(CommandLine& line);
void add_check(CommandLine& line);
void add_sample(CommandLine& line);
void add_forward(CommandLine& line);
void add_doctor(CommandLine& line);
void add_worker(CommandLine& line);  ///< hidden: runs of one shape, in a child of `sweep` and `run`

}  // namespace recallbench
