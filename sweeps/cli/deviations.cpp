#include "sweeps/cli/deviations.h"

#include <fmt/format.h>

#include "kernels/base/text.h"

namespace recallbench {

std::string deviation_text(const Deviation& deviation) {
  // A plugin's texts are shown too.
  const auto shown = [](std::string_view text) { return printable(std::string(text)); };
  const std::string text =
      deviation.sound == kSameUnderCompat
          ? fmt::format("with compat or without: {}", shown(deviation.reference))
          : fmt::format("compat = \"zoology\": {}; otherwise: {}", shown(deviation.reference),
                        shown(deviation.sound));
  return fmt::format("    {:4} {}", shown(deviation.number), text);
}

Json to_json(const std::vector<Deviation>& deviations) {
  Json list{Json::Array{}};
  for (const Deviation& deviation : deviations) {
    Json json;
    json["number"] = deviation.number;
    json["reference"] = deviation.reference;
    json["sound"] = deviation.sound;
    list.push_back(std::move(json));
  }
  return list;
}

}  // namespace recallbench
