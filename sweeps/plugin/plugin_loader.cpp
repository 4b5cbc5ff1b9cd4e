#include "sweeps/plugin/plugin_loader.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/process.h"
#include "kernels/base/text.h"
#include "kernels/base/version.h"
#include "mixers/obligations/lone_mixer.h"
#include "mixers/plugin.h"

namespace recallbench {

#ifdef RECALLBENCH_STATIC

void load_plugins(const std::vector<std::string>& files) {
  if (files.empty()) return;
  fail(ErrorKind::plugin, "plugin",
       "{}: this program is a static build, which cannot load plugins; use one of the preset "
       "'release'",
       in_quotes(files[0]));
}

#else

namespace {

constexpr std::chrono::seconds kTimeLimit{10};
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 32;  // of a plugin
constexpr char kAccepted[] = "ok";

/// Opens `file`, compares fingerprints and registers its mixers; throws Error(plugin).
void register_from(const std::string& file, MixerRegistry& registry) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    fail(ErrorKind::plugin, "plugin", "it cannot be loaded: {}; build it against this installation",
         reason != nullptr ? printable(reason, 300) : "no reason given");
  }
  const auto entry_point =
      reinterpret_cast<const PluginEntry* (*)()>(dlsym(library, "recallbench_plugin"));
  if (entry_point == nullptr)
    fail(ErrorKind::plugin, "plugin",
         "it exports no symbol recallbench_plugin; end a source file with RECALLBENCH_PLUGIN(...)");
  const PluginEntry* entry = entry_point();
  if (entry == nullptr || entry->size != sizeof(PluginEntry) || entry->fingerprint == nullptr ||
      entry->register_mixers == nullptr)
    fail(ErrorKind::plugin, "plugin",
         "its entry has another layout; rebuild it against this installation");
  if (std::strcmp(entry->fingerprint, RECALLBENCH_FINGERPRINT) != 0)
    fail(ErrorKind::plugin, "plugin",
         "it was built as \"{}\", this program as \"{}\"; rebuild it to match",
         printable(entry->fingerprint, 300), RECALLBENCH_FINGERPRINT);
  entry->register_mixers(registry);
}

/// Makes a mixer once with its defaults; that an option is required is no fault.
void make_once(const std::string& name, const MixerEntry& entry) {
  try {
    make_mixer(name, entry, {}, {1, 2, 64, false, entry.block == "transformer"});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
  }
}

/// Loads `file` for a trial.
void try_plugin(const std::string& file) {
  const std::vector<std::string> before = mixer_registry().names();
  register_from(file, mixer_registry());
  if (mixer_registry().names().size() == before.size())
    fail(ErrorKind::plugin, "plugin",
         "it registers no mixer; its function is to call registry.add");
  for (const std::string& name : mixer_registry().names()) {
    if (std::find(before.begin(), before.end(), name) != before.end()) continue;
    if (name.empty() || printable(name) != name)
      fail(ErrorKind::plugin, "plugin",
           "it registers a mixer by the name {}, which is not one line of readable text; take "
           "another",
           in_quotes(name));
    make_once(name, mixer_registry().find(name));
  }
}

/// The exception under way as one line.
std::string exception_text() {
  try {
    throw;
  } catch (const Error& error) {  // the loader's own, or the registry's
    constexpr std::string_view kOwn = "[plugin] ";
    const std::string_view text = error.what();
    return printable(text.substr(text.starts_with(kOwn) ? kOwn.size() : 0), 1000);
  } catch (const std::exception& error) {
    return "it throws: " + printable(error.what(), 1000);
  } catch (...) {
    return "it throws something that is no std::exception";
  }
}

/// The forked child: what it finds goes to `report`; what the plugin prints goes nowhere.
[[noreturn]] void trial(const std::string& file, int report) {
  const int nowhere = open("/dev/null", O_RDWR);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    dup2(nowhere, standard);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  // Should the parent die while the plugin hangs.
  signal(SIGALRM, SIG_DFL);
  alarm(static_cast<unsigned>(kTimeLimit.count()) + 1);
  std::string answer = kAccepted;
  try {
    try_plugin(file);
  } catch (...) {
    answer = exception_text();
  }
  _exit(write(report, answer.data(), answer.size()) < 0 ? 1 : 0);
}

/// What the child said until it closed the pipe or the time was up.
std::string listen(const FileDescriptor& pipe, const ChildProcess& child) {
  using std::chrono::steady_clock;
  const steady_clock::time_point end = steady_clock::now() + kTimeLimit;
  std::string answer;
  char buffer[4096];
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    pollfd ready{pipe.get(), POLLIN, 0};
    const int events = poll(&ready, 1, static_cast<int>(std::max<long>(left.count(), 0)));
    if (events < 0 && errno == EINTR) continue;
    if (events <= 0) {
      child.kill();
      return fmt::format("it does not finish loading within {} s", kTimeLimit.count());
    }
    const std::int64_t got = read_some(pipe.get(), buffer, sizeof(buffer));
    if (got <= 0) return answer;
    answer.append(buffer, static_cast<std::size_t>(got));
  }
}

/// Throws unless a forked child loads the file and lives.
void probe(const std::string& file) {
  Pipe report = open_pipe(ErrorKind::plugin);
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0)
    fail(ErrorKind::plugin, "plugin", "{}: no process to try it: {}", in_quotes(file),
         std::strerror(errno));
  if (pid == 0) trial(file, report.writing.get());
  ChildProcess child(pid);
  report.writing.close();
  std::string answer = listen(report.reading, child);
  const int status = child.wait();
  if (answer == kAccepted && WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (answer.empty() || answer == kAccepted)
    answer = WIFSIGNALED(status)
                 ? fmt::format("it crashes while it is loaded ({})", strsignal(WTERMSIG(status)))
                 : "it ends the program while it is loaded";
  fail(ErrorKind::plugin, "plugin", "{}: {}", in_quotes(file), answer);
}

/// Loads a file that was tried, for good.
void load(const std::string& file) {
  MixerRegistry loaded("mixer");
  try {
    register_from(file, loaded);
  } catch (...) {
    fail(ErrorKind::plugin, "plugin", "{}: {}", in_quotes(file), exception_text());
  }
  for (const std::string& name : loaded.names()) {
    MixerEntry entry = loaded.find(name);
    entry.origin = file;
    mixer_registry().add(name, entry);
  }
  add_to_code_version(std::filesystem::path(file).filename().string(),
                      read_file(file, kMostBytes, ErrorKind::plugin));
}

}  // namespace

void load_plugins(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(file, error))
      fail(ErrorKind::plugin, "plugin", "{}: there is no such file{}", in_quotes(file),
           std::filesystem::exists(file, error) ? ", but something else of that name" : "");
    // A path without a slash would be searched for in the system's folders.
    const std::string path = std::filesystem::absolute(file);
    probe(path);
    load(path);
  }
}

#endif

}  // namespace recallbench
