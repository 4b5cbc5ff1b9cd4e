#include "mixers/obligations/random_configuration.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "mixers/obligations/lone_mixer.h"

namespace recallbench {
namespace {

constexpr std::uint32_t kTries = 1000;
// Integers are drawn from this many above their least value.
constexpr double kSpread = 8;

std::int64_t draw_integer(const OptionInfo& info, RandomStream& random) {
  const double above = std::min(kSpread, info.max - info.min);
  return static_cast<std::int64_t>(info.min) + random.below(static_cast<std::uint32_t>(above) + 1);
}

/// The default by a half, by once, by one and a half and by twice; where that is 0, up to 1/2.
double draw_number(const OptionInfo& info, RandomStream& random) {
  const double fallback = info.fallback ? std::get<double>(*info.fallback) : 1;
  const double factor = 0.5 * (1 + random.below(4));
  const double drawn = fallback == 0 ? 0.5 * random.uniform() : fallback * factor;
  return std::clamp(drawn, info.min, info.max);
}

/// A value of the option; none: its default, which a fourth of all have.
std::optional<Value> draw(const OptionInfo& info, RandomStream& random) {
  if (info.fallback && random.below(4) == 0) return std::nullopt;
  switch (info.kind) {
    case OptionKind::boolean:
      return random.below(2) == 0;
    case OptionKind::integer:
      return draw_integer(info, random);
    case OptionKind::length:
      return kLongestChecked + std::int64_t{random.below(64)};
    case OptionKind::integers:
      return std::vector<std::int64_t>{draw_integer(info, random)};
    case OptionKind::number:
      return draw_number(info, random);
    case OptionKind::text:
      if (info.allowed.empty()) return std::nullopt;
      return info.allowed[random.below(static_cast<std::uint32_t>(info.allowed.size()))];
  }
  return std::nullopt;
}

/// Mostly any width to 13, and now and then one that many numbers divide.
MixerContext draw_context(const MixerEntry& entry, RandomStream& random) {
  MixerContext context;
  context.n_layers = 2;
  context.layer = static_cast<int>(random.below(2));
  context.d_model = random.below(4) > 0 ? 1 + random.below(13) : 8 * (1 + random.below(4));
  context.zoology = random.below(2) == 0;
  context.transformer_block = entry.block == "transformer" || random.below(4) == 0;
  return context;
}

/// A single token, a few examples of a few, and one that ends within a later chunk.
std::vector<CheckedSize> draw_sizes(RandomStream& random) {
  return {{1 + random.below(3), 1 + random.below(3)},
          {1 + random.below(3), 4 + random.below(40)},
          {1, random.below(4) == 0 ? 65 + random.below(70) : 1 + random.below(64)}};
}

class IgnoreDeclarations : public ParameterDeclarer {
 public:
  Parameter declare(ParameterSpec) override { return {count_++}; }

 private:
  int count_ = 0;
};

/// Every option as it is read, so that one may depend on those before it.
Values draw_options(const std::string& name, const MixerEntry& entry, const MixerContext& context,
                    RandomStream& random) {
  Options options("mixer '" + name + "'");
  options.supply([&random](const OptionInfo& info) { return draw(info, random); });
  IgnoreDeclarations declarer;
  entry.make(context, options, declarer);
  return options.resolved();
}

}  // namespace

std::string RandomConfiguration::text() const {
  std::string text =
      fmt::format("d_model={}{}{}", context.d_model, context.zoology ? " zoology" : "",
                  context.transformer_block ? "" : " in its own block");
  for (const auto& [key, value] : options)
    text += fmt::format(" {}={}", key, to_string(value));
  text += " at";
  for (const CheckedSize& size : sizes)
    text += fmt::format(" {} x {}", size.examples, size.length);
  return text;
}

RandomConfiguration random_configuration(const std::string& name, const MixerEntry& entry,
                                         std::uint32_t number) {
  std::string refusal;
  for (std::uint32_t attempt = 0; attempt < kTries; ++attempt) {
    RandomStream random(xxh3_64(name), Purpose::test_values, number, attempt);
    RandomConfiguration drawn{draw_context(entry, random), {}, draw_sizes(random)};
    try {
      drawn.options = draw_options(name, entry, drawn.context, random);
      const MadeMixer made = make_mixer(name, entry, drawn.options, drawn.context);
      made.mixer->decoder(perturbed_parameters(made.specs, 1, 0), kLongestChecked);
      return drawn;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::usage) throw;
      refusal = error.what();
    }
  }
  fail(ErrorKind::usage, "random_configuration", "'{}' refuses {} configurations; the last: {}",
       name, kTries, refusal);
}

}  // namespace recallbench
