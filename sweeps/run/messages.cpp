#include "sweeps/run/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/io/json.h"

namespace recallbench {
namespace {

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : std::string("null");
}

}  // namespace

double fraction_of(const TrainProgress& p) {
  const double in_epoch = p.steps_per_epoch > 0
                              ? static_cast<double>(p.step) / static_cast<double>(p.steps_per_epoch)
                              : 0;
  if (p.max_epochs <= 0) return 0;
  const double fraction =
      (static_cast<double>(p.epoch) + in_epoch) / static_cast<double>(p.max_epochs);
  return std::clamp(fraction, 0.0, 1.0);
}

std::string encode_message(const WorkerMessage& message) {
  const TrainProgress& p = message.progress;
  return fmt::format(
      "{{\"epoch\":{},\"max_epochs\":{},\"step\":{},\"steps_per_epoch\":{},"
      "\"tokens_per_s\":{}{}}}\n",
      p.epoch, p.max_epochs, p.step, p.steps_per_epoch, number(p.tokens_per_s),
      message.accuracy ? ",\"accuracy\":" + number(*message.accuracy) : std::string());
}

std::optional<WorkerMessage> decode_message(const std::string& line) {
  try {
    const Json json = parse_json(line, "message of a run", ErrorKind::internal);
    WorkerMessage message;
    TrainProgress& p = message.progress;
    p.epoch = json.at("epoch").as_int();
    p.max_epochs = json.at("max_epochs").as_int();
    p.step = json.at("step").as_int();
    p.steps_per_epoch = json.at("steps_per_epoch").as_int();
    p.tokens_per_s = json.at("tokens_per_s").as_double_or_nan();
    if (const Json* accuracy = json.find("accuracy"))
      message.accuracy = accuracy->as_double_or_nan();
    return message;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace recallbench
