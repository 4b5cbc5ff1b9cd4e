#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

#include "kernels/base/error.h"
#include "kernels/base/names.h"
#include "kernels/base/text.h"
#include "kernels/base/version.h"
#include "sweeps/cli/cli.h"
#include "sweeps/plugin/plugin_loader.h"
#include "sweeps/run/signals.h"

namespace recallbench {
namespace {

void add_common(CommandLine& line) {
  CLI::App& app = line.app;
  app.set_version_flag("--version", "recallbench " + code_version());
  app.add_flag("--json", line.common.json, "print one JSON document instead of text");
  app.add_flag("--quiet", line.common.quiet, "no progress, no remarks");
  app.add_option("--color", line.common.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("WHEN");
  app.add_option("--device", line.common.device, "where to compute: cpu, cuda (all GPUs), cuda:N")
      ->type_name("DEVICE");
  app.add_option("--plugin", line.common.plugins, "load mixers from a shared library")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false)  // what follows FILE.so is the command's
      ->type_name("FILE.so");
  app.fallthrough();
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  recallbench sweep demo          train, then draw recall against state size\n"
      "  recallbench list mixers\n"
      "  recallbench sweep --help\n"
      "Environment: RECALLBENCH_PROGRESS=auto, bar, plain or none; RECALLBENCH_RECIPES=DIR,\n"
      "looked through first for recipes; NO_COLOR, where not empty: no colour under --color auto.\n"
      "Exit codes: 0 done, 1 some runs failed, 2 wrong usage, 3 results cannot be read or\n"
      "written, 4 plugin refused, 75 stopped by a signal (the same command resumes).");
}

void add_subcommands(CommandLine& line) {
  for (const auto add : {add_run, add_sweep, add_status, add_plot, add_pareto, add_compare,
                         add_list, add_check, add_sample, add_forward, add_doctor, add_worker})
    add(line);
  for (CLI::App* command : line.app.get_subcommands([](const CLI::App*) { return true; })) {
    std::string footer = command->get_footer();
    footer.erase(footer.find_last_not_of('\n') + 1);
    command->footer(footer +
                    "\nOf every command: --json, --quiet, --color WHEN, --device DEVICE, --plugin "
                    "FILE.so; see `recallbench --help`.");
  }
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames())
      names.push_back("--" + name);
  return names;
}

std::vector<std::string> subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    if (!command->get_group().empty()) names.push_back(command->get_name());
  return names;
}

/// What a user meant by arguments that do not parse; `error` is the parser's own view.
std::string explain(const CLI::App& app, const CLI::ParseError& error, int count, char** values) {
  const auto parsed = app.get_subcommands();
  if (parsed.empty()) {
    for (const std::string& word : app.remaining()) {  // without the values of options
      if (word.starts_with('-')) continue;
      const std::string name = printable(word);
      return fmt::format("there is no subcommand '{}'{}", name,
                         hint_for(name, subcommand_names(app)));
    }
  }
  const std::string where = parsed.empty() ? "recallbench" : "recallbench " + parsed[0]->get_name();
  // A subcommand's own come first, as a long list is cut.
  std::vector<std::string> known = option_names(parsed.empty() ? app : *parsed[0]);
  for (const std::string& name : option_names(app))
    if (std::find(known.begin(), known.end(), name) == known.end()) known.push_back(name);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    for (int i = 1; i < count; ++i) {
      const std::string name = std::string(values[i]).substr(0, std::string(values[i]).find('='));
      const bool is_known = std::find(known.begin(), known.end(), name) != known.end();
      if (name.starts_with("--") && !is_known)
        return fmt::format("{} has no option '{}'{}", where, printable(name),
                           hint_for(name, known));
    }
  }
  return fmt::format("{}: {}; see `{} --help`", where, printable(error.what(), 500), where);
}

/// One line on standard error, if anybody reads that.
void complain(const std::string& text) {
  std::fputs((text + "\n").c_str(), stderr);
}

int exit_code_for(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return kUsage;
    case ErrorKind::io:
      return kResults;
    case ErrorKind::plugin:
      return kPluginRefused;
    case ErrorKind::internal:
      break;
  }
  return kSomeFailed;
}

/// Standard output is where the results go: what cannot be written there is an error, but for a
/// reader that has gone.
int close_output(int code) {
  if (std::fflush(stdout) == 0 || errno == EPIPE) return code;
  complain(std::string("[recallbench] cannot write standard output: ") + std::strerror(errno));
  return kResults;
}

int run_line(CommandLine& line, int count, char** values) {
  try {
    line.app.parse(count, values);
  } catch (const CLI::Success& request) {  // --help, --version
    return close_output(line.app.exit(request));
  } catch (const CLI::ParseError& error) {
    complain("[recallbench] " + explain(line.app, error, count, values));
    return kUsage;
  }
  load_plugins(line.common.plugins);
  return close_output(line.action());
}

int run(int count, char** values) {
  prepare_signals();
  CommandLine line;
  try {
    add_common(line);
    add_subcommands(line);
    return run_line(line, count, values);
  } catch (const Error& error) {
    complain(error.what());
    return exit_code_for(error.kind());
  } catch (const std::system_error& error) {
    if (error.code().value() == EPIPE) return kDone;
    if (std::ferror(stdout) != 0) {
      complain(std::string("[recallbench] cannot write standard output: ") +
               error.code().message());
      return kResults;
    }
    complain("[recallbench] unexpected error: " + printable(error.what(), 1000));
  } catch (const std::bad_alloc&) {
    complain("[recallbench] out of memory; use a smaller model or batch, or fewer --jobs");
  } catch (const std::exception& error) {
    complain("[recallbench] unexpected error: " + printable(error.what(), 1000));
  } catch (...) {  // from a plugin
    complain("[recallbench] unexpected error: thrown was something that is no std::exception");
  }
  return kSomeFailed;
}

}  // namespace
}  // namespace recallbench

int main(int count, char** values) {
  return recallbench::run(count, values);
}
