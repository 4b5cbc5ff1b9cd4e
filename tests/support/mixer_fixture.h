#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mixers/mixer.h"

namespace recallbench::testing {

/// A mixer as one layer of width `context.d_model`, and what it declared.
struct MadeMixer {
  MixerContext context;
  std::unique_ptr<SequenceMixer> mixer;
  std::vector<ParameterSpec> specs;
};

/// Makes the registered mixer `name`; options that it does not know are errors.
MadeMixer make_mixer(const std::string& name, const Values& options, const MixerContext& context);

/// Normal numbers with standard deviation `scale` for every parameter, biases too, so that nothing
/// hides behind a zero.
HostParameters random_parameters(const std::vector<ParameterSpec>& specs, std::uint64_t seed,
                                 double scale);

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
  std::map<std::string, std::vector<double>> gradients;  ///< by parameter
};

/// Records and replays `forward` in element type T, or with positions `forward_rows`; where
/// `training`, backward too.
template <class T>
MixerRun run_mixer(const MadeMixer& made, const HostParameters& parameters, const MixerInput& input,
                   bool training);

/// The decoder folded over every example: y [B, L, D]. `state_numbers`, where given, becomes the
/// count of numbers carried after the last token.
std::vector<double> fold_decoder(const MadeMixer& made, const HostParameters& parameters,
                                 const MixerInput& input, Index* state_numbers = nullptr);

/// The rows of y [B, L, D] at the positions of `input`.
std::vector<double> rows_at(const std::vector<double>& y, const MixerInput& input);

/// Over x and every parameter, the largest difference between the gradient and central differences
/// along random directions, in double, relative to Σ |gradient ⊙ direction|; its place in `worst`.
double gradient_error(const MadeMixer& made, const HostParameters& parameters,
                      const MixerInput& input, std::string& worst);

}  // namespace recallbench::testing
