#include "tasks/render.h"

#include <fmt/format.h>

#include "kernels/base/error.h"

namespace recallbench {
namespace {

constexpr const char* kReset = "\x1b[0m";

const char* color_of(Role role) {
  switch (role) {
    case Role::key:
      return "\x1b[1;36m";
    case Role::value:
      return "\x1b[32m";
    case Role::query:
      return "\x1b[1;33m";
    case Role::filler:
      return "\x1b[2m";
    case Role::plain:
      break;
  }
  return "";
}

/// What one token (or a run of fillers) looks like, and how many columns it takes.
struct Piece {
  std::string text;
  std::size_t columns;
};

Piece piece(const std::string& token, const std::string& answer, Role role, bool color) {
  if (color) {
    const std::string begin = color_of(role);
    std::string text = begin + token + (begin.empty() ? "" : kReset);
    if (answer.empty()) return {text, token.size()};
    return {text + "->" + color_of(Role::value) + answer + kReset,
            token.size() + 2 + answer.size()};
  }
  std::string text = token;
  if (role == Role::key) text = "<" + token + ">";
  if (role == Role::value) text = "{" + token + "}";
  if (!answer.empty()) text = "[" + token + "->" + answer + "]";
  return {text, text.size()};
}

/// How many equal unlabelled fillers begin at t; 1 for anything else.
std::size_t run_length(std::span<const std::int32_t> inputs, std::span<const Role> roles,
                       std::size_t t) {
  std::size_t end = t + 1;
  if (roles[t] != Role::filler) return 1;
  while (end < inputs.size() && roles[end] == Role::filler && inputs[end] == inputs[t])
    ++end;
  return end - t;
}

}  // namespace

std::string render_legend(const RenderOptions& options) {
  const bool color = options.color;
  return fmt::format("{} {} {} {}", piece("key", "", Role::key, color).text,
                     piece("value", "", Role::value, color).text,
                     piece("query", "answer", Role::query, color).text,
                     piece("filler", "", Role::filler, color).text);
}

std::string render_example(std::span<const std::int32_t> inputs,
                           std::span<const std::int32_t> labels, std::span<const Role> roles,
                           const RenderOptions& options) {
  check(inputs.size() == labels.size() && inputs.size() == roles.size(), "render",
        "need inputs, labels and roles of one length, came {}, {}, {}", inputs.size(),
        labels.size(), roles.size());
  constexpr std::size_t kShortestRun = 4;
  const std::size_t margin = std::to_string(inputs.size()).size();
  std::string out;
  std::size_t column = 0;
  for (std::size_t t = 0; t < inputs.size();) {
    const std::size_t run = run_length(inputs, roles, t);
    const bool folded = run >= kShortestRun;
    std::string token = std::to_string(inputs[t]);
    if (folded) token += fmt::format("*{}", run);
    const std::string answer = labels[t] == kIgnoreLabel ? "" : std::to_string(labels[t]);
    const Piece next = piece(token, answer, roles[t], options.color);
    if (t == 0 || column + 1 + next.columns > static_cast<std::size_t>(options.width)) {
      out += fmt::format("{}{:>{}}: ", t == 0 ? "" : "\n", t, margin);
      column = margin + 2;
    } else {
      out += ' ';
      ++column;
    }
    out += next.text;
    column += next.columns;
    t += folded ? run : 1;
  }
  return out + "\n";
}

}  // namespace recallbench
