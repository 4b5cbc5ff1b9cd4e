#include "sweeps/run/messages.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "kernels/base/error.h"
#include "kernels/base/io/json.h"

namespace recallbench {
namespace {

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : std::string("null");
}

double number_or_nan(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.as_double();
}

}  // namespace

std::string encode_message(const WorkerMessage& message) {
  const TrainProgress& p = message.progress;
  return fmt::format(
      "{{\"epoch\":{},\"max_epochs\":{},\"step\":{},\"steps_per_epoch\":{},\"loss\":{},"
      "\"tokens_per_s\":{}{}}}\n",
      p.epoch, p.max_epochs, p.step, p.steps_per_epoch, number(p.loss), number(p.tokens_per_s),
      message.accuracy ? ",\"accuracy\":" + number(*message.accuracy) : std::string());
}

std::optional<WorkerMessage> decode_message(const std::string& line) {
  try {
    const Json json = parse_json(line, "message of a run");
    WorkerMessage message;
    TrainProgress& p = message.progress;
    p.epoch = json.at("epoch").as_int();
    p.max_epochs = json.at("max_epochs").as_int();
    p.step = json.at("step").as_int();
    p.steps_per_epoch = json.at("steps_per_epoch").as_int();
    p.loss = number_or_nan(json.at("loss"));
    p.tokens_per_s = number_or_nan(json.at("tokens_per_s"));
    if (json.has("accuracy")) message.accuracy = number_or_nan(json.at("accuracy"));
    return message;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace recallbench
