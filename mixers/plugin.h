#pragma once

#include <cstddef>

#include "kernels/base/version.h"
#include "mixers/registry.h"

/// A plugin is a shared library with mixers, built against the installed headers and libraries:
///
///   namespace { void register_mine(recallbench::MixerRegistry& registry) { registry.add(...); } }
///   RECALLBENCH_PLUGIN(register_mine)
///
/// and loaded by `recallbench --plugin FILE.so`. C++ objects cross the border, so the plugin must
/// be built as the program was; the fingerprint below says how, and a difference is refused.

#define RECALLBENCH_TEXT_OF(x) #x
#define RECALLBENCH_TEXT(x) RECALLBENCH_TEXT_OF(x)

#if defined(__SANITIZE_ADDRESS__)
#define RECALLBENCH_SANITIZED "address"
#elif defined(__SANITIZE_THREAD__)
#define RECALLBENCH_SANITIZED "thread"
#else
#define RECALLBENCH_SANITIZED "none"
#endif

#ifdef RECALLBENCH_CUDA
#define RECALLBENCH_WITH_CUDA "yes"
#else
#define RECALLBENCH_WITH_CUDA "no"
#endif

/// How this translation unit is compiled, as far as objects that cross the border depend on it.
/// A literal, so that the plugin's cannot be replaced by the program's when it is linked.
#define RECALLBENCH_FINGERPRINT \
  "compiler " __VERSION__ "; C++ " RECALLBENCH_TEXT(__cplusplus) "; libstdc++ "        \
  RECALLBENCH_TEXT(_GLIBCXX_RELEASE) " abi " RECALLBENCH_TEXT(_GLIBCXX_USE_CXX11_ABI)  \
  "; vectors " RECALLBENCH_TEXT(__BIGGEST_ALIGNMENT__) "; sanitizer "                  \
  RECALLBENCH_SANITIZED "; CUDA " RECALLBENCH_WITH_CUDA "; mixer interface "                         \
  RECALLBENCH_TEXT(RECALLBENCH_MIXER_INTERFACE)

/// Raised whenever a type in mixers/, kernels/graph/ or kernels/base/ changes its layout.
#define RECALLBENCH_MIXER_INTERFACE 5

namespace recallbench {

/// What the one exported symbol of a plugin, `recallbench_plugin`, returns.
struct PluginEntry {
  std::size_t size;         ///< sizeof(PluginEntry)
  const char* fingerprint;  ///< RECALLBENCH_FINGERPRINT
  void (*register_mixers)(MixerRegistry&);
};

}  // namespace recallbench

#define RECALLBENCH_PLUGIN(register_function)                                                   \
  extern "C" __attribute__((visibility("default"))) const recallbench::PluginEntry*             \
  recallbench_plugin() {                                                                        \
    static const recallbench::PluginEntry entry = {sizeof(recallbench::PluginEntry),            \
                                                   RECALLBENCH_FINGERPRINT, register_function}; \
    return &entry;                                                                              \
  }
