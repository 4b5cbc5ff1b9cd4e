#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mixers/registry.h"

namespace recallbench {

/// What one obligation came to.
struct Obligation {
  enum class Status { passed, failed, not_applicable };
  int number = 0;
  std::string name;  ///< "forward = decoder"
  Status status = Status::failed;
  double measured = 0;           ///< the error (or count) seen
  double bound = 0;              ///< the largest that passes
  std::string detail;            ///< where, what against what
  bool detail_says_all = false;  ///< measured and bound tell a reader nothing more

  bool failed() const { return status == Status::failed; }
};

/// Examples and tokens that a mixer is checked at.
struct CheckedSize {
  Index examples, length;
};
inline const std::vector<CheckedSize> kCheckedSizes = {{1, 1}, {3, 7}, {2, 33}};
/// The longest sequence that a decoder is given by the checks.
inline constexpr Index kLongestChecked = 1024;

/// What `check` comes to; that it throws, whatever it throws, is that the obligation fails.
Obligation try_obligation(int number, const char* name, const std::function<Obligation()>& check);

/// What every mixer must do, proven on random parameters away from their initial values:
///  1 forward equals the fold of the decoder, and forward_rows the rows of forward
///  2 its gradients equal central differences; without compat, forward reads every parameter that
///    is trained
///  3 a changed token leaves the outputs before it as they were (or, where the traits say that it
///    is not causal, does not)
///  4 CUDA equals CPU (not applicable where built without)
///  5 nothing is read that was not written: the same with memory filled with NaN
///  6 the state is what the decoder carries: constant in L where the traits say so, growing where
///    not; its counters never grow; nothing of a sequence stays in the decoder itself
///  7 same bits: again, on three threads, within a population
///  8 options survive a round trip, and a misspelt one is refused
/// Obligation 9, that it learns, needs training: see sweeps/check.
/// An exception inside an obligation fails it, and no other. `done`, where given, sees each as soon
/// as it is known.
std::vector<Obligation> check_obligations(
    const std::string& name, const MixerEntry& entry, const Values& options,
    const MixerContext& context, const std::vector<CheckedSize>& sizes = kCheckedSizes,
    const std::function<void(const Obligation&)>& done = [](const Obligation&) {});

}  // namespace recallbench
