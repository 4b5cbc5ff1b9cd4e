#pragma once

#ifndef __CUDACC__
#include <fmt/format.h>
#endif

#include <source_location>
#include <stdexcept>
#include <string>

namespace recallbench {

/// What went wrong, as far as a caller's exit code cares.
enum class ErrorKind {
  internal,  ///< a broken promise between functions: exit 1
  usage,     ///< wrong command line, configuration or data: exit 2
  io,        ///< something cannot be read or written: exit 3
  plugin,    ///< a plugin was refused: exit 4
};

/// The project's one exception type. The text reads
/// `[who] what was expected, what came, what to do`.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

/// Who complains, and (taken by itself) where in the source.
struct Who {
  const char* name;
  std::source_location where;
  Who(const char* n, std::source_location w = std::source_location::current())
      : name(n), where(w) {}
};

/// Throws Error(internal): `[who] text (file.cpp:12)`.
[[noreturn]] void fail_internal(const Who& who, const std::string& text);

#ifdef __CUDACC__  // nvcc cannot compile fmt: what a .cu file says is said without arguments.

template <class... Args>
void check(bool holds, const Who& who, const char* text, const Args&...) {
  if (!holds) [[unlikely]]
    fail_internal(who, text);
}

#else

/// A promise between functions, shapes above all; `format` says what was expected and what came.
template <class... Args>
void check(bool holds, const Who& who, fmt::format_string<Args...> format, Args&&... args) {
  if (!holds) [[unlikely]]
    fail_internal(who, fmt::format(format, std::forward<Args>(args)...));
}

/// Throws Error(kind): `[who] text`.
template <class... Args>
[[noreturn]] void fail(ErrorKind kind, std::string_view who, fmt::format_string<Args...> format,
                       Args&&... args) {
  throw Error(kind, fmt::format("[{}] {}", who, fmt::format(format, std::forward<Args>(args)...)));
}

#endif

}  // namespace recallbench
