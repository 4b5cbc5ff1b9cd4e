#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "mixers/model.h"
#include "mixers/obligations/lone_mixer.h"

namespace recallbench::testing {

/// A mixer in a model of two layers: what tests of several options are parameterised by.
struct MixerConfig {
  std::string label, mixer;
  Values options;
  bool zoology = false;
  Index d_model = 8;
  int layer = 0;
  bool transformer_block = true;
};

/// Shows a parameterised test's configuration by its label.
void PrintTo(const MixerConfig& config, std::ostream* out);

MixerContext context_of(const MixerConfig& config);

/// Throws as make_mixer() does.
MadeMixer make(const MixerConfig& config);

/// Tests of a mixer's forms, where memory that nobody wrote holds no number.
class MixerForms : public ::testing::TestWithParam<MixerConfig> {
 protected:
  void SetUp() override;
  void TearDown() override;
};

/// Not above the bound, and a number.
void expect_at_most(double error, double bound, const std::string& what);

/// Forward, as in training and not, over two examples of each length against the folded decoder:
/// in double within 1e-10, in float within `float_bound`.
void expect_forward_is_the_fold(const MadeMixer& made, const HostParameters& parameters,
                                std::initializer_list<Index> lengths, double float_bound = 2e-5);

/// Labelled rows of two examples of 13 tokens against those of all rows, within 1e-12 in double.
void expect_labelled_rows(const MadeMixer& made, const HostParameters& parameters);

/// Gradients over two examples of `length` tokens against central differences, within 1e-6: of all
/// rows, and of those at `positions` (both examples').
void expect_gradients(const MadeMixer& made, const HostParameters& parameters, Index length,
                      const std::vector<std::int32_t>& positions);

/// A change of token `changed` of `length` leaves the bits of earlier rows and changes its own.
void expect_causal(const MadeMixer& made, const HostParameters& parameters, Index length,
                   Index changed);

/// None of the obligations of any mixer fails.
void expect_obligations(const MixerConfig& config);

/// Forward and decoder refuse a sequence of `length` tokens: an error of usage.
void expect_sequence_refused(const MadeMixer& made, Index length);

/// Making the mixer is an error of usage whose text has `part`.
void expect_refused(const MixerConfig& config, const std::string& part);

/// Numbers that the decoder carries after `length` tokens.
Index state_numbers(const MadeMixer& made, Index length);

/// The declared parameters' shapes by name.
using Shapes = std::map<std::string, std::vector<Index>>;
Shapes shapes(const MadeMixer& made);

/// A model of the reference, as compat has it, with these layers.
ModelConfig reference_model(Index d_model, const std::vector<LayerConfig>& layers);

/// Initial values of one parameter, always of the same seed.
std::vector<double> initial(const std::string& name, const MadeMixer& made);

/// The standard deviation about 0.
double deviation(const std::vector<double>& values);

/// The largest magnitude.
double largest(const std::vector<double>& values);

/// Uniform within ±bound: reaches near it, never beyond, and has the standard deviation, relative
/// to the bound within `tolerance`.
void expect_uniform(const std::vector<double>& values, double bound, double tolerance = 0.04);

}  // namespace recallbench::testing
