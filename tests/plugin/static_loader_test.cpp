// The loader as it is compiled into a static program: no file at all is loaded, and it says why.
#include <cstdio>
#include <cstring>

#include "kernels/base/error.h"
#include "sweeps/plugin/plugin_loader.h"

int main() {
  recallbench::load_plugins({});
  try {
    recallbench::load_plugins({"any.so"});
  } catch (const recallbench::Error& error) {
    std::puts(error.what());
    const bool right = error.kind() == recallbench::ErrorKind::plugin &&
                       std::strstr(error.what(), "'any.so'") != nullptr &&
                       std::strstr(error.what(), "static build") != nullptr;
    return right ? 0 : 1;
  }
  std::puts("a static build's loader accepted a plugin");
  return 1;
}
