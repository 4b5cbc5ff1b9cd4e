#include "sweeps/plugin/plugin_loader.h"

#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "kernels/base/text.h"
#include "mixers/obligations/lone_mixer.h"
#include "mixers/plugin.h"

namespace recallbench {
namespace {

constexpr int kTimeLimit_ms = 10000;
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
    fail(ErrorKind::plugin, "plugin", "its entry has another layout; rebuild it against this installation");
  if (std::strcmp(entry->fingerprint, RECALLBENCH_FINGERPRINT) != 0)
    fail(ErrorKind::plugin, "plugin", "it was built as \"{}\", this program as \"{}\"; rebuild it to match",
         printable(entry->fingerprint, 300), RECALLBENCH_FINGERPRINT);
  entry->register_mixers(registry);
}

/// Loads `file` for a trial: all its mixers are made once with their defaults.
void try_plugin(const std::string& file) {
  const std::vector<std::string> before = mixer_registry().names();
  register_from(file, mixer_registry());
  std::size_t added = 0;
  for (const std::string& name : mixer_registry().names()) {
    if (std::find(before.begin(), before.end(), name) != before.end()) continue;
    ++added;
    const MixerEntry& entry = mixer_registry().find(name);
    make_mixer(name, entry, {}, {1, 2, 64, false, entry.block == "transformer"});
  }
  if (added == 0) fail(ErrorKind::plugin, "plugin", "it registers no mixer");
}

[[noreturn]] void child(const std::string& file, int report) {
  signal(SIGALRM, SIG_DFL);
  std::string answer = kAccepted;
  try {
    try_plugin(file);
  } catch (const std::exception& error) {
    answer = error.what();
  } catch (...) {
    answer = "it throws something that is no std::exception";
  }
  if (write(report, answer.data(), answer.size()) < 0) _exit(1);
  _exit(0);
}

/// What the child said until it closed the pipe or the time was up.
std::string listen(int pipe, pid_t pid) {
  std::string answer;
  char buffer[4096];
  for (;;) {
    pollfd ready{pipe, POLLIN, 0};
    if (poll(&ready, 1, kTimeLimit_ms) <= 0) {
      kill(pid, SIGKILL);
      return fmt::format("it does not finish loading within {} s", kTimeLimit_ms / 1000);
    }
    const ssize_t got = read(pipe, buffer, sizeof(buffer));
    if (got <= 0) return answer;
    answer.append(buffer, static_cast<std::size_t>(got));
  }
}

/// Throws unless a forked child loads the file and lives.
void probe(const std::string& file) {
  int ends[2];
  if (pipe(ends) != 0)
    fail(ErrorKind::plugin, "plugin", "{}: no pipe to try it: {}", file, std::strerror(errno));
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0)
    fail(ErrorKind::plugin, "plugin", "{}: no process to try it: {}", file, std::strerror(errno));
  if (pid == 0) {
    close(ends[0]);
    child(file, ends[1]);
  }
  close(ends[1]);
  std::string answer = listen(ends[0], pid);
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  if (answer == kAccepted && WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (answer.empty() || answer == kAccepted)
    answer = WIFSIGNALED(status)
                 ? fmt::format("it crashes while it is loaded ({})", strsignal(WTERMSIG(status)))
                 : "it ends the program while it is loaded";
  if (answer.starts_with("[plugin] ")) answer.erase(0, 9);
  fail(ErrorKind::plugin, "plugin", "{}: {}", in_quotes(file), answer);
}

}  // namespace

void load_plugins(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    if (!std::filesystem::is_regular_file(file))
      fail(ErrorKind::plugin, "plugin", "{}: there is no such file", in_quotes(file));
    // A path without a slash would be searched for in the system's folders.
    const std::string path = std::filesystem::absolute(file);
    probe(path);
    MixerRegistry loaded("mixer");
    register_from(path, loaded);
    for (const std::string& name : loaded.names()) {
      MixerEntry entry = loaded.find(name);
      entry.origin = path;
      mixer_registry().add(name, entry);
    }
  }
}

}  // namespace recallbench
