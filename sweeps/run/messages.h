#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sweeps/train/train_run.h"

namespace recallbench {

/// What a worker tells its driver while it trains: one line of JSON each.
struct WorkerMessage {
  /// `epoch` from 0, `step` of this epoch's `steps_per_epoch`.
  TrainProgress progress{};
  std::optional<double> accuracy;  ///< of validation, in the message after an epoch
};

/// The line of a worker that has its turn, and begins to compute. One that ends without it has
/// tried nothing.
inline constexpr std::string_view kTurnBegins = "turn begins\n";

/// The line of a worker that needs its GPU no longer.
inline constexpr std::string_view kTurnIsOver = "turn is over\n";

/// Share of the run's epochs that is done, in [0, 1].
double fraction_of(const TrainProgress& progress);

/// One line, at most 512 bytes with its newline, so that a pipe takes it whole or not at all.
std::string encode_message(const WorkerMessage& message);

/// Nothing for a line that is not such a message: progress is for eyes only, no run fails over it.
std::optional<WorkerMessage> decode_message(const std::string& line);

}  // namespace recallbench
