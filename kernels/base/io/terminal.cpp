#include "kernels/base/io/terminal.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace recallbench {

bool is_smart_terminal(int descriptor) {
  const char* terminal = std::getenv("TERM");
  return terminal != nullptr && std::string_view(terminal) != "dumb" && isatty(descriptor) == 1;
}

bool use_color(const std::string& choice, int descriptor) {
  if (choice != "auto") return choice == "always";
  const char* no_color = std::getenv("NO_COLOR");
  return (no_color == nullptr || *no_color == '\0') && is_smart_terminal(descriptor);
}

}  // namespace recallbench
