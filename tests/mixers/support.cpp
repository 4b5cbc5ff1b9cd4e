#include "tests/mixers/support.h"

#include <algorithm>
#include <cmath>

#include "mixers/obligations/obligations.h"
#include "tests/base/expect_error.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {

void PrintTo(const MixerConfig& config, std::ostream* out) {
  *out << config.label;
}

MixerContext context_of(const MixerConfig& config) {
  MixerContext context;
  context.layer = config.layer;
  context.n_layers = 2;
  context.d_model = config.d_model;
  context.zoology = config.zoology;
  context.transformer_block = config.transformer_block;
  return context;
}

MadeMixer make(const MixerConfig& config) {
  return make_mixer(config.mixer, config.options, context_of(config));
}

void MixerForms::SetUp() {
  set_memory_poisoning(true);
}

void MixerForms::TearDown() {
  set_memory_poisoning(false);
}

void expect_at_most(double error, double bound, const std::string& what) {
  if (!(error <= bound)) ADD_FAILURE() << what << ": error " << error << " over bound " << bound;
}

void expect_forward_is_the_fold(const MadeMixer& made, const HostParameters& parameters,
                                std::initializer_list<Index> lengths, double float_bound) {
  for (const Index length : lengths) {
    const MixerInput input = random_input(2, length, made.context.d_model, 5);
    const std::vector<double> folded = fold_decoder(made, parameters, input);
    for (const bool training : {false, true}) {
      expect_at_most(relative_error(run_mixer<double>(made, parameters, input, training).y, folded),
                     1e-10, fmt::format("double, L = {}", length));
      expect_at_most(relative_error(run_mixer<float>(made, parameters, input, training).y, folded),
                     float_bound, fmt::format("float, L = {}", length));
    }
  }
}

void expect_labelled_rows(const MadeMixer& made, const HostParameters& parameters) {
  MixerInput input = random_input(2, 13, made.context.d_model, 5);
  const std::vector<double> all = run_mixer<double>(made, parameters, input, false).y;
  input.positions = {12, 3, 0, 7, 7, 0, 1, 12, 5, 0};
  expect_at_most(
      relative_error(run_mixer<double>(made, parameters, input, true).y, rows_at(all, input)),
      1e-12, "rows");
}

void expect_gradients(const MadeMixer& made, const HostParameters& parameters, Index length,
                      const std::vector<std::int32_t>& positions) {
  MixerInput input = random_input(2, length, made.context.d_model, 6);
  std::string worst = "everything";
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "all rows, " + worst);
  input.positions = positions;
  expect_at_most(gradient_error(made, parameters, input, worst), 1e-6, "labelled rows, " + worst);
}

void expect_causal(const MadeMixer& made, const HostParameters& parameters, Index length,
                   Index changed) {
  const Index d = made.context.d_model;
  const MixerInput input = random_input(1, length, d, 5);
  MixerInput other = input;
  for (Index j = 0; j < d; ++j)
    other.x[static_cast<std::size_t>(changed * d + j)] += 3;
  const std::vector<double> before = run_mixer<float>(made, parameters, input, false).y;
  const std::vector<double> after = run_mixer<float>(made, parameters, other, false).y;
  const auto here = before.begin() + changed * d;
  EXPECT_TRUE(std::equal(before.begin(), here, after.begin()));
  EXPECT_FALSE(std::equal(here, here + d, after.begin() + changed * d));
}

void expect_obligations(const MixerConfig& config) {
  for (const Obligation& o : check_obligations(config.mixer, mixer_registry().find(config.mixer),
                                               config.options, context_of(config)))
    EXPECT_FALSE(o.failed()) << o.number << " " << o.name << ": " << o.measured << " over "
                             << o.bound << ", " << o.detail;
}

void expect_sequence_refused(const MadeMixer& made, Index length) {
  const HostParameters parameters = perturbed_parameters(made.specs, 1, 0.1);
  const MixerInput input = random_input(1, length, made.context.d_model, 2);
  constexpr const char* kSays = "bounds the sequences";
  EXPECT_ERROR(run_mixer<float>(made, parameters, input, false), ErrorKind::usage, kSays);
  EXPECT_ERROR(fold_decoder(made, parameters, input), ErrorKind::usage, kSays);
}

void expect_refused(const MixerConfig& config, const std::string& part) {
  try {
    make(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    return;
  }
  ADD_FAILURE() << config.mixer << " accepts what should be refused with \"" << part << "\"";
}

Index state_numbers(const MadeMixer& made, Index length) {
  Index numbers = -1;
  fold_decoder(made, perturbed_parameters(made.specs, 1, 0.1),
               random_input(1, length, made.context.d_model, 2), &numbers);
  return numbers;
}

Shapes shapes(const MadeMixer& made) {
  Shapes all;
  for (const ParameterSpec& spec : made.specs)
    all[spec.name] = spec.shape;
  return all;
}

ModelConfig reference_model(Index d_model, const std::vector<LayerConfig>& layers) {
  ModelConfig config;
  config.zoology = true;
  config.d_model = d_model;
  config.layers = layers;
  return config;
}

std::vector<double> initial(const std::string& name, const MadeMixer& made) {
  Parameters parameters(made.specs, DType::f64, 1);
  parameters.initialise(0, 7);
  return parameters.get(parameters.find(name), 0);
}

double deviation(const std::vector<double>& values) {
  double square = 0;
  for (const double v : values)
    square += v * v / static_cast<double>(values.size());
  return std::sqrt(square);
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values)
    most = std::max(most, std::abs(v));
  return most;
}

void expect_uniform(const std::vector<double>& values, double bound, double tolerance) {
  EXPECT_LE(largest(values), bound);
  EXPECT_GE(largest(values), 0.97 * bound);
  EXPECT_NEAR(deviation(values) / bound, 1 / std::sqrt(3.0), tolerance);
}

}  // namespace recallbench::testing
