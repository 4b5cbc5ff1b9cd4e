#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/tensor/device.h"

namespace recallbench {

/// One thing that a golden case compares: how far it is off, and how far it may be.
struct GoldenComparison {
  std::string what;        ///< "logits", "gradients", ...
  double error = 0;        ///< reached; NaN where nothing can be compared
  double bound = 0;        ///< the largest that passes
  std::string detail;      ///< where the error is largest, or what does not fit
  bool comparable = true;  ///< names, shapes and counts are those of the reference

  bool passed() const { return comparable && error <= bound; }
};

/// What became of a golden case.
struct GoldenReport {
  std::string name;
  std::string not_run;  ///< why it cannot run on this device; "" where it ran
  std::vector<GoldenComparison> comparisons;

  bool passed() const;  ///< it ran, and every comparison passed
  bool failed() const;  ///< it ran, and one did not
};

/// The golden cases that come with the source tree (tests/goldens/models), while that is there.
std::optional<std::string> default_goldens_folder();

/// The cases in `folder`, by name: its folders with a `model.toml`. Throws Error(usage) where
/// there is no such folder.
std::vector<std::string> golden_cases(const std::string& folder);

/// Those whose model has a layer of `mixer`.
std::vector<std::string> golden_cases_of(const std::string& mixer, const std::string& folder);

/// Runs the case `folder`/`name` as `recallbench forward` does, with the training steps of its
/// trace, and compares with what the reference computed: "logits" (and "logits in evaluation" where
/// the case has them) in absolute terms, "loss" and "training trace" relative, "gradients" as the
/// largest share of a tensor's tolerance, "state size" in bytes. Bounds are those of its
/// notes.json, five times as much on a GPU, which sums in another order. What cannot be read or run
/// is a comparison that fails, and says why.
GoldenReport run_golden_case(const std::string& folder, const std::string& name,
                             Device device = Device::cpu);

}  // namespace recallbench
