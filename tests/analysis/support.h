#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "analysis/summary.h"
#include "kernels/base/error.h"
#include "kernels/base/io/temporary_folder.h"

namespace recallbench {

/// A run of family and model `family`, with 1024 bytes of state and equal validation and test
/// accuracy; its id and setting tell learning rate and seed.
SummaryRow make_run(const std::string& family, double learning_rate, std::uint64_t seed,
                    double accuracy);

/// The same run as one that diverged: without results.
SummaryRow diverged(SummaryRow run);

void write_text(const std::string& path, std::string_view text);
std::string read_text(const std::string& path);

/// Sets an environment variable as long as it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

/// Lets fontconfig, and so gnuplot, know the fonts of folder `fonts` alone, as long as it lives;
/// keeps its own files in `folder`.
class FontFolder {
 public:
  FontFolder(const TemporaryFolder& folder, const std::string& fonts);

 private:
  Environment configuration_;
};

/// What is wrong with `text` as an XML document: empty if its elements nest, its attributes are
/// quoted, its entities are known and its characters allowed.
std::string xml_problem(std::string_view text);

/// The message with which `act` fails; a failure of the test if it does not throw Error(kind).
std::string message_of(ErrorKind kind, const std::function<void()>& act);

}  // namespace recallbench
