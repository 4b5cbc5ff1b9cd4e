#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>
#include <type_traits>

#include "kernels/base/text.h"

namespace recallbench {

/// Takes numbers in [min, max], and refuses what is none and what lies outside in the same words.
template <class Number>
CLI::Validator number_in(Number min, Number max) {
  const auto text_of = [](Number number) {
    if constexpr (std::is_integral_v<Number>)
      return fmt::format("{}", number);
    else
      return fmt::format("{:g}", number);
  };
  const std::string range = text_of(min) + " to " + text_of(max);
  const auto check = [=](const std::string& text) {
    Number number{};
    if (CLI::detail::lexical_cast(text, number) && number >= min && number <= max)
      return std::string();
    return fmt::format("must be a {} from {}, got '{}'",
                       std::is_integral_v<Number> ? "whole number" : "number", range,
                       printable(text));
  };
  return CLI::Validator(check, range);
}

}  // namespace recallbench
