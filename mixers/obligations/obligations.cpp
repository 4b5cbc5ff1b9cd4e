#include "mixers/obligations/obligations.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "kernels/base/at_scope_end.h"
#include "kernels/base/text.h"
#include "kernels/cuda/runtime.h"
#include "kernels/tensor/parallel.h"
#include "mixers/obligations/lone_mixer.h"
#include "mixers/use_mixer.h"

namespace recallbench {
namespace {

constexpr double kNoise = 0.2;         // of the parameters, about their initial values
constexpr Index kLongestState = 8192;  // tokens after which a fixed state must have its size

using Sizes = std::vector<CheckedSize>;

/// A result that passes if the measured value is within the bound; NaN is not.
Obligation within(int number, const char* name, double measured, double bound, std::string detail) {
  return {
      number,   name,  measured <= bound ? Obligation::Status::passed : Obligation::Status::failed,
      measured, bound, std::move(detail)};
}

/// Keeps the worst value and where it was seen; NaN is worst.
struct Worst {
  double value = 0;
  std::string where = "nowhere";
  void see(double seen, const std::string& place) {
    if (!(seen <= value)) value = seen, where = place;
  }
};

MixerInput with_positions(MixerInput input) {
  for (Index b = 0; b < input.examples; ++b)  // the last, the first, and one twice
    for (const Index t : {input.length - 1, Index{0}, input.length / 2, input.length / 2})
      input.positions.push_back(static_cast<std::int32_t>(t));
  return input;
}

/// How much the outputs change where the inputs are rounded to float: the part of a float error
/// that no implementation can avoid.
double rounding_sensitivity(const MadeMixer& made, const HostParameters& p, const MixerInput& input,
                            const std::vector<double>& y) {
  MixerInput rounded = input;
  for (double& x : rounded.x)
    x = static_cast<float>(x);
  auto values = p.all();
  for (auto& [name, numbers] : values)
    for (double& x : numbers)
      x = static_cast<float>(x);
  return relative_error(run_mixer<double>(made, HostParameters(values), rounded, false).y, y);
}

Obligation forward_is_decoder(const MadeMixer& made, const Sizes& sizes) {
  Worst in_double, in_float, rows;
  for (const auto& [examples, length] : sizes) {
    const std::string where = fmt::format("B = {}, L = {}", examples, length);
    const HostParameters p = perturbed_parameters(made.specs, 11, kNoise);
    const MixerInput input = random_input(examples, length, made.context.d_model, 12);
    const std::vector<double> expected = fold_decoder(made, p, input);
    const std::vector<double> y = run_mixer<double>(made, p, input, false).y;
    in_double.see(relative_error(y, expected), where);
    const double allowed = std::max(5e-5, 20 * rounding_sensitivity(made, p, input, y));
    in_float.see(relative_error(run_mixer<float>(made, p, input, false).y, expected) / allowed,
                 where);
    const MixerInput some = with_positions(input);
    rows.see(relative_error(run_mixer<double>(made, p, some, false).y, rows_at(y, some)), where);
  }
  constexpr const char* kName = "forward = decoder";
  if (!(in_float.value <= 1))
    return within(1, kName, in_float.value, 1,
                  "in float, as a share of what rounding explains, at " + in_float.where);
  if (!(rows.value <= 1e-9))
    return within(1, kName, rows.value, 1e-9,
                  "forward_rows against the rows of forward, at " + rows.where);
  return within(1, kName, in_double.value, 1e-9, "worst at " + in_double.where);
}

/// The first parameter that is trained though `forward` reads it at none of the sizes.
std::optional<std::string> unread_parameter(const MadeMixer& made, const Sizes& sizes) {
  const HostParameters p = perturbed_parameters(made.specs, 21, kNoise);
  std::set<std::string> read;
  for (const auto& [examples, length] : sizes) {
    const MixerInput input = random_input(examples, length, made.context.d_model, 22);
    for (const auto& [name, gradient] : run_mixer<double>(made, p, input, true).gradients)
      read.insert(name);
  }
  for (const ParameterSpec& spec : made.specs)
    if (spec.trainable && !read.contains(spec.name)) return spec.name;
  return std::nullopt;
}

Obligation gradients(const MadeMixer& made, const Sizes& sizes) {
  constexpr const char* kName = "gradients";
  if (!made.context.zoology)  // under compat there may be parameters that the reference has unread
    if (const auto unread = unread_parameter(made, sizes))
      return within(
          2, kName, 1, 0,
          fmt::format("the parameter '{}' is trained, but forward never reads it", *unread));
  Worst worst;
  for (const auto& [examples, length] : sizes) {
    const HostParameters p = perturbed_parameters(made.specs, 21, kNoise);
    const MixerInput all = random_input(examples, length, made.context.d_model, 22);
    for (const MixerInput& input : {all, with_positions(all)}) {
      std::string place;
      const double error = gradient_error(made, p, input, place);
      worst.see(error, fmt::format("{} at B = {}, L = {}{}", place, examples, length,
                                   input.positions.empty() ? "" : ", labelled rows"));
    }
  }
  return within(2, kName, worst.value, 2e-6, "against central differences, worst: " + worst.where);
}

Obligation causality(const MadeMixer& made) {
  const Index length = 24, d = made.context.d_model;
  const HostParameters p = perturbed_parameters(made.specs, 31, kNoise);
  const MixerInput input = random_input(1, length, d, 32);
  const std::vector<double> before = run_mixer<double>(made, p, input, false).y;
  double scale = 1e-30;
  for (const double y : before)
    scale = std::max(scale, std::abs(y));
  Worst worst;
  // Then large changes in random directions: what selects tokens may notice none but such.
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const std::vector<double> change = seed == 0
                                           ? std::vector<double>(static_cast<std::size_t>(d), 1.0)
                                           : normal_numbers(d, 32 + seed, 4.0);
    for (const Index t : {Index{1}, Index{10}, length - 1}) {
      MixerInput changed = input;
      for (Index j = 0; j < d; ++j)
        changed.x[static_cast<std::size_t>(t * d + j)] += change[static_cast<std::size_t>(j)];
      const std::vector<double> after = run_mixer<double>(made, p, changed, false).y;
      for (Index i = 0; i < t * d; ++i) {
        const auto at = static_cast<std::size_t>(i);
        worst.see(std::abs(after[at] - before[at]) / scale,
                  fmt::format("token {} moved the output at {}", t, i / d));
      }
    }
  }
  Obligation result = within(3, "causal", worst.value, 1e-10, worst.where);
  if (!made.mixer->traits().causal) {
    result.status = result.failed() ? Obligation::Status::passed : Obligation::Status::failed;
    result.detail = "its traits say that it is not; " + worst.where;
  }
  return result;
}

/// One input run in three ways.
struct DeviceRuns {
  std::string where;
  MixerRun expected, on_cpu, on_gpu;  ///< in double; in float
};

std::vector<DeviceRuns> run_on_devices(const MadeMixer& made, const Sizes& sizes) {
  const HostParameters p = perturbed_parameters(made.specs, 41, kNoise);
  std::vector<DeviceRuns> runs;
  for (const auto& [examples, length] : sizes) {
    const MixerInput all = random_input(examples, length, made.context.d_model, 42);
    for (const MixerInput& input : {all, with_positions(all)})
      // Dropout masks are the same on both, so training graphs can be compared.
      runs.push_back({fmt::format("B = {}, L = {}{}", examples, length,
                                  input.positions.empty() ? "" : ", labelled rows"),
                      run_mixer<double>(made, p, input, true),
                      run_mixer<float>(made, p, input, true),
                      run_mixer<float>(made, p, input, true, Device::cuda)});
  }
  return runs;
}

/// On a GPU, in fp32, against the CPU in double: outputs and gradients. Where float itself is far
/// from double, at any of the sizes, as far again is allowed.
Obligation cuda_is_cpu(const MadeMixer& made, const Sizes& sizes) {
  const std::vector<DeviceRuns> runs = run_on_devices(made, sizes);
  Worst worst;
  // of(run): what is compared; floor(expected): on what scale a tensor next to zero is seen.
  const auto see = [&](const std::string& what, const auto& of, const auto& floor) {
    double allowed = 1e-4;
    for (const DeviceRuns& r : runs)
      allowed =
          std::max(allowed, 5 * relative_error(of(r.on_cpu), of(r.expected), floor(r.expected)));
    for (const DeviceRuns& r : runs)
      worst.see(relative_error(of(r.on_gpu), of(r.expected), floor(r.expected)) / allowed,
                what + " at " + r.where);
  };
  // A gradient that is zero, or next to it, is seen on the scale of the others: a hundredth of
  // their largest, of which 1e-4 is about what float keeps.
  const auto of_gradients = [](const MixerRun& run) {
    double largest = largest_magnitude(run.dx);
    for (const auto& [name, gradient] : run.gradients)
      largest = std::max(largest, largest_magnitude(gradient));
    return 1e-2 * largest;
  };
  see(
      "y", [](const MixerRun& run) -> const auto& { return run.y; },
      [](const MixerRun&) { return 0.0; });
  see(
      "dx", [](const MixerRun& run) -> const auto& { return run.dx; }, of_gradients);
  for (const auto& [name, gradient] : runs.front().expected.gradients)
    see(
        "d " + name,
        [&, key = name ](const MixerRun& run) -> const auto& { return run.gradients.at(key); },
        of_gradients);
  return within(
      4, "CUDA = CPU", worst.value, 1,
      "share of the larger of 1e-4 and five times the CPU's float error, worst: " + worst.where);
}

/// Poisoned memory must give the same bits as clean memory.
Obligation no_stray_reads(const MadeMixer& made, const Sizes& sizes) {
  const HostParameters p = perturbed_parameters(made.specs, 51, kNoise);
  Worst worst;
  for (const auto& [examples, length] : sizes) {
    const MixerInput all = random_input(examples, length, made.context.d_model, 52);
    for (const MixerInput& input : {all, with_positions(all)}) {
      const MixerRun clean = run_mixer<float>(made, p, input, true);
      const AtScopeEnd clean_again{[] { set_memory_poisoning(false); }};
      set_memory_poisoning(true);
      const bool same = run_mixer<float>(made, p, input, true) == clean;
      worst.see(same ? 0 : 1, fmt::format("B = {}, L = {}", examples, length));
    }
  }
  return within(5, "memory filled with NaN", worst.value, 0,
                worst.value == 0 ? "same bits" : "other bits at " + worst.where);
}

/// Decodes two sequences in turns, one of them from a copied state, and compares with decoding
/// them one after the other.
double hidden_state(const MadeMixer& made, const HostParameters& p) {
  const Index length = 20;
  const auto d = static_cast<std::size_t>(made.context.d_model);
  const MixerInput a = random_input(1, length, made.context.d_model, 62);
  const MixerInput b = random_input(1, length, made.context.d_model, 63);
  const std::vector<double> ya = fold_decoder(made, p, a), yb = fold_decoder(made, p, b);
  const auto decoder = decoder_of(*made.mixer, made.name, p, length);
  State sa = decoder->start(), sb = decoder->start();
  std::vector<double> za(ya.size()), zb(yb.size());
  for (std::size_t t = 0; t < static_cast<std::size_t>(length); ++t) {
    decoder->step(std::span(a.x).subspan(t * d, d), sa, std::span(za).subspan(t * d, d));
    State copy;
    copy.numbers = sb.numbers;
    copy.counters = sb.counters;
    decoder->step(std::span(b.x).subspan(t * d, d), copy, std::span(zb).subspan(t * d, d));
    sb = copy;
  }
  const double error_a = relative_error(za, ya), error_b = relative_error(zb, yb);
  return error_a >= error_b || std::isnan(error_a) ? error_a : error_b;
}

Obligation counted_state(const MadeMixer& made) {
  constexpr const char* kName = "state";
  const HostParameters p = perturbed_parameters(made.specs, 61, kNoise);
  const double hidden = hidden_state(made, p);
  if (!(hidden == 0))
    return within(
        6, kName, hidden, 0,
        "sequences decoded in turns disturb one another: something is kept outside State");
  const Traits traits = made.mixer->traits();
  if (traits.settles_after > kLongestState)
    return within(6, kName, static_cast<double>(traits.settles_after), kLongestState,
                  "tokens until its state has its full size, its traits say: too many to check");
  const Index length = std::max(kLongestChecked / 2, traits.settles_after);
  const Index longer = length + kLongestChecked / 2;
  Index once = 0, twice = 0, counters[2] = {0, 0};
  fold_decoder(made, p, random_input(1, length, made.context.d_model, 64), &once, &counters[0]);
  fold_decoder(made, p, random_input(1, longer, made.context.d_model, 65), &twice, &counters[1]);
  if (counters[0] != counters[1])
    return within(
        6, kName, 1, 0,
        fmt::format("{} counters after {} tokens, {} after {}: what grows is no position; "
                    "keep it in State::numbers, where it is counted",
                    counters[0], length, counters[1], longer));
  const auto published = made.mixer->published_state_size(length);
  const bool fixed = traits.fixed_state;
  Obligation result{6,
                    kName,
                    Obligation::Status::passed,
                    static_cast<double>(4 * once),
                    static_cast<double>(4 * twice),
                    ""};
  if (fixed ? once != twice : once >= twice) result.status = Obligation::Status::failed;
  result.detail =
      fmt::format("{} bytes after {} tokens, {} after {}; its traits say {}; published: {}",
                  4 * once, length, 4 * twice, longer, fixed ? "fixed" : "growing",
                  published ? fmt::format("{} bytes", *published) : "none");
  return result;
}

Obligation same_bits(const MadeMixer& made) {
  const Index d = made.context.d_model;
  const std::vector<HostParameters> p = {perturbed_parameters(made.specs, 71, kNoise),
                                         perturbed_parameters(made.specs, 72, kNoise),
                                         perturbed_parameters(made.specs, 73, kNoise)};
  const std::vector<MixerInput> x = {random_input(3, 19, d, 74), random_input(3, 19, d, 75),
                                     random_input(3, 19, d, 76)};
  const MixerRun alone = run_mixer<float>(made, p[1], x[1], true);
  std::vector<const char*> differs;
  const auto see = [&](const char* how, const MixerRun& run) {
    if (!(run == alone)) differs.push_back(how);
  };
  see("a second time", run_mixer<float>(made, p[1], x[1], true));
  {
    const AtScopeEnd as_before{[before = threads()] { set_threads(before); }};
    set_threads(3);
    see("on three threads", run_mixer<float>(made, p[1], x[1], true));
  }
  see("in a population of three", run_population<float>(made, p, x, true)[1]);
  return within(7, "same bits", static_cast<double>(differs.size()), 0,
                differs.empty() ? "again, on three threads, in a population of three"
                                : fmt::format("other bits {}", fmt::join(differs, ", ")));
}

bool same_specs(const std::vector<ParameterSpec>& a, const std::vector<ParameterSpec>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& s, const auto& t) {
    return s.name == t.name && s.shape == t.shape && s.trainable == t.trainable &&
           s.decays == t.decays;
  });
}

Obligation options_round_trip(const std::string& name, const MixerEntry& entry,
                              const Values& options, const MadeMixer& made) {
  constexpr const char* kName = "options";
  const MadeMixer again = make_mixer(name, entry, made.resolved, made.context);
  if (again.resolved != made.resolved || !same_specs(again.specs, made.specs))
    return within(8, kName, 1, 0, "the resolved options, given again, make another mixer");
  Values misspelt = options;
  const std::string wrong = made.described.empty() ? "no_such_option" : made.described[0].key + "x";
  misspelt[wrong] = std::int64_t{1};
  try {
    make_mixer(name, entry, misspelt, made.context);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::usage &&
        std::string(error.what()).find(wrong) != std::string::npos)
      return within(8, kName, 0, 0, fmt::format("round trip; '{}' is refused", wrong));
    throw;
  }
  return within(8, kName, 1, 0, fmt::format("the unknown option '{}' is accepted", wrong));
}

}  // namespace

Obligation try_obligation(int number, const char* name, const std::function<Obligation()>& check) {
  std::string thrown = "it throws something that is no std::exception";
  try {
    return check();
  } catch (const std::exception& error) {
    thrown = printable(error.what(), 1000);
  } catch (...) {
  }
  return {number, name, Obligation::Status::failed, 1, 0, thrown, true};
}

std::vector<Obligation> check_obligations(const std::string& name, const MixerEntry& entry,
                                          const Values& options, const MixerContext& context,
                                          const std::vector<CheckedSize>& sizes,
                                          const std::function<void(const Obligation&)>& done) {
  const MadeMixer made = make_mixer(name, entry, options, context);
  std::vector<Obligation> all;
  const auto add = [&](int number, const char* obligation, const auto& check) {
    all.push_back(try_obligation(number, obligation, check));
    done(all.back());
  };
  const auto not_applicable = [&](int number, const char* obligation, const char* why) {
    all.push_back({number, obligation, Obligation::Status::not_applicable, 0, 0, why});
    done(all.back());
  };
  if (made.mixer->traits().causal)
    add(1, "forward = decoder", [&] { return forward_is_decoder(made, sizes); });
  else
    not_applicable(1, "forward = decoder", "it looks ahead, which no decoder can");
  add(2, "gradients", [&] { return gradients(made, sizes); });
  add(3, "causal", [&] { return causality(made); });
  if (cuda_device_count() > 0)
    add(4, "CUDA = CPU", [&]() -> Obligation {
      try {
        return cuda_is_cpu(made, sizes);
      } catch (const NoCudaCode& error) {
        return {4, "CUDA = CPU", Obligation::Status::not_applicable, 0, 0, error.what()};
      }
    });
  else
    not_applicable(4, "CUDA = CPU",
                   kCudaBuild ? "there is no GPU here" : "this program is built without CUDA");
  add(5, "memory filled with NaN", [&] { return no_stray_reads(made, sizes); });
  add(6, "state", [&] {
    Obligation state = counted_state(made);
    state.detail_says_all = true;
    return state;
  });
  add(7, "same bits", [&] { return same_bits(made); });
  add(8, "options", [&] { return options_round_trip(name, entry, options, made); });
  return all;
}

}  // namespace recallbench
