#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/graph/probe.h"
#include "mixers/registry.h"

namespace recallbench {

/// A mixer by itself, without the model around it: what the obligations and tests work on.
struct MadeMixer {
  std::string name;
  MixerContext context;
  std::unique_ptr<SequenceMixer> mixer;
  std::vector<ParameterSpec> specs;  ///< what it declared
  Values resolved;                   ///< its options, defaults filled in
  std::vector<OptionInfo> described;
};

/// Makes the mixer `name` of `entry`; options that it does not know are errors.
MadeMixer make_mixer(const std::string& name, const MixerEntry& entry, const Values& options,
                     const MixerContext& context);
/// The same for a registered mixer.
MadeMixer make_mixer(const std::string& name, const Values& options, const MixerContext& context);

/// Normal numbers with standard deviation `scale` for every parameter, biases too, so that nothing
/// hides behind a zero.
HostParameters random_parameters(const std::vector<ParameterSpec>& specs, std::uint64_t seed,
                                 double scale);
/// Initial values, and on those that are trained normal noise of that standard deviation: away from
/// fixed points of the initialisation, within reach of it.
HostParameters perturbed_parameters(const std::vector<ParameterSpec>& specs, std::uint64_t seed,
                                    double noise);

/// x [B, L, D], and where only labelled rows are wanted their positions [B, n].
struct MixerInput {
  Index examples = 1, length = 1;
  std::vector<double> x;
  std::vector<std::int32_t> positions;
  Index labels() const { return static_cast<Index>(positions.size()) / examples; }
};

/// Standard normal x, all rows.
MixerInput random_input(Index examples, Index length, Index d_model, std::uint64_t seed);

struct MixerRun {
  std::vector<double> y;                                 ///< [B, L or n, D]
  std::vector<double> dx;                                ///< of Σ y ⊙ output_weight
  std::map<std::string, std::vector<double>> gradients;  ///< by parameter that is read

  bool operator==(const MixerRun&) const = default;
};

/// Records and replays `forward` in element type T, or with positions `forward_rows`, for a
/// population with one entry of `parameters` and of `inputs` (all of one shape) a replica; where
/// `training`, backward too, with dropouts under one seed. On a GPU (T is float) in fp32.
template <class T>
std::vector<MixerRun> run_population(const MadeMixer& made,
                                     const std::vector<HostParameters>& parameters,
                                     const std::vector<MixerInput>& inputs, bool training,
                                     Device device = Device::cpu);

/// A population of one.
template <class T>
MixerRun run_mixer(const MadeMixer& made, const HostParameters& parameters, const MixerInput& input,
                   bool training, Device device = Device::cpu) {
  return run_population<T>(made, {parameters}, {input}, training, device)[0];
}

/// The decoder folded over every example: y [B, L, D]. `state_numbers` and `state_counters`, where
/// given, become the counts of what is carried after the last token.
std::vector<double> fold_decoder(const MadeMixer& made, const HostParameters& parameters,
                                 const MixerInput& input, Index* state_numbers = nullptr,
                                 Index* state_counters = nullptr);

/// The rows of y [B, L, D] at the positions of `input`.
std::vector<double> rows_at(const std::vector<double>& y, const MixerInput& input);

/// Over x and every parameter, the largest difference between the gradient and central differences
/// along random directions, in double, relative to Σ |gradient ⊙ direction|, or to the least that
/// differences can see where that is more; its place in `worst`.
double gradient_error(const MadeMixer& made, const HostParameters& parameters,
                      const MixerInput& input, std::string& worst);

}  // namespace recallbench
