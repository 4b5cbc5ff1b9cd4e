#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/base/error.h"

namespace recallbench {

/// What `action` throws as text, with its kind in `kind`; fails the test if it throws nothing.
template <class Action>
std::string error_of(Action action, ErrorKind* kind = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (kind != nullptr) *kind = error.kind();
    return error.what();
  }
  ADD_FAILURE() << "expected an error, none came";
  return "";
}

/// Expects an Error of this kind whose text contains `part`.
#define EXPECT_ERROR(action, expected_kind, part)                                              \
  do {                                                                                         \
    ::recallbench::ErrorKind came_kind{};                                                      \
    const std::string came_text = ::recallbench::error_of([&] { action; }, &came_kind);        \
    EXPECT_EQ(static_cast<int>(came_kind), static_cast<int>(expected_kind)) << came_text;      \
    EXPECT_NE(came_text.find(part), std::string::npos) << came_text << "\n lacks: " << (part); \
  } while (false)

}  // namespace recallbench
