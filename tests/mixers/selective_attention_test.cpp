// selective_attention: the softmax so far, which tokens are kept, the penalty, options.
#include <gtest/gtest.h>

#include <cmath>

#include "mixers/model.h"
#include "mixers/obligations/lone_mixer.h"
#include "mixers/registry.h"
#include "mixers/selective_attention/selection.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

/// f(s) of one example of `values`, a number a token.
std::vector<double> applied(const std::vector<double>& values,
                            const std::function<Tensor(Graph&, const Tensor&)>& f) {
  Parameters none({}, DType::f64, 1);
  Graph graph(none, false);
  const Tensor s = graph.input({1, 1, static_cast<Index>(values.size()), 1}, false);
  std::copy(values.begin(), values.end(), graph.value<double>(s).replica(0).data);
  const Tensor out = f(graph, s);
  graph.keep(out);
  Arena arena;
  graph.finish(arena);
  const std::uint64_t seed = 1;
  graph.forward(
      {1, static_cast<Index>(values.size()), 0, nullptr, nullptr, nullptr, nullptr, 0, {&seed, 1}});
  const Matrix<double> y = graph.value<double>(out).replica(0);
  std::vector<double> numbers;
  for (Index i = 0; i < y.rows; ++i)
    numbers.push_back(*y.row(i));
  return numbers;
}

TEST(SelectiveAttention, KeepsTheLargest) {
  const std::vector<double> s = {0.2, 0.9, 0.3, 0.1, 0.4};
  const auto keep = [&](Index k) {
    return applied(s, [k](Graph& g, const Tensor& t) { return keep_lookups(g, t, k); });
  };
  EXPECT_EQ(keep(1), (std::vector<double>{0, 0.9, 0, 0, 0}));
  EXPECT_EQ(keep(3), (std::vector<double>{0, 0.9, 0.3, 0, 0.4}));
  EXPECT_EQ(keep(5), s);
}

TEST(SelectiveAttention, KeepsSharesAboveOneHalf) {
  EXPECT_EQ(
      applied({0.5, 0.51, 0.2, 1}, [](Graph& g, const Tensor& t) { return keep_lookups(g, t, 0); }),
      (std::vector<double>{0, 0.51, 0, 1}));
}

TEST(SelectiveAttention, SoftmaxOfAllPositionsAndOfThoseSoFar) {
  const std::vector<double> z = {1, -2, 800, 799};  // e^800 is no number
  const auto softmax = [&](bool causal) {
    return applied(z,
                   [causal](Graph& g, const Tensor& t) { return position_softmax(g, t, causal); });
  };
  const double first = 1 / (1 + std::exp(-1.0));
  EXPECT_NEAR(softmax(false)[0], 0, 1e-300);
  EXPECT_NEAR(softmax(false)[2], first, 1e-12);
  EXPECT_NEAR(softmax(true)[0], 1, 1e-15);
  EXPECT_NEAR(softmax(true)[1], 1 / (1 + std::exp(3.0)), 1e-15);
  EXPECT_NEAR(softmax(true)[2], 1, 1e-15);
  EXPECT_NEAR(softmax(true)[3], 1 - first, 1e-12);
}

TEST(SelectiveAttention, ANaNIsSeenInEverySoftmaxFromThereOn) {
  const std::vector<double> s = applied({1, std::nan(""), 2, 3}, [](Graph& g, const Tensor& t) {
    return position_softmax(g, t, true);
  });
  EXPECT_EQ(s[0], 1);
  for (const std::size_t t : {1, 2, 3})
    EXPECT_TRUE(std::isnan(s[t])) << t;
}

TEST(SelectiveAttention, PenaltyIsOfTheMeanShareAboveItsBound) {
  const auto penalty = [](double bound) {
    return applied({0.5, 0.7, 0, 0.4}, [bound](Graph& g, const Tensor& t) {
      return lookup_penalty(g, t, 2, bound);
    })[0];
  };
  EXPECT_NEAR(penalty(0.3), 0.2, 1e-15);
  EXPECT_EQ(penalty(0.5), 0);
}

ModelConfig model_config(double penalty, bool zoology) {
  ModelConfig config;
  config.zoology = zoology;
  config.vocab_size = 16;
  config.d_model = 8;
  config.embed_dropout = 0;
  config.layers = {{"selective_attention", {{"selection_penalty", penalty}}, ""}};
  return config;
}

/// The first gradient of `selecting.weight` in a model's first layer, and the two losses.
struct Step {
  double loss, auxiliary, gradient;
};
Step step(const ModelConfig& config, bool with_auxiliary) {
  Model model(config, DType::f64, 1);
  model.parameters().initialise(0, 3);
  Graph graph(model.parameters(), true);
  const RecordedLoss out = model.record_loss(graph, 2, 6, 1, with_auxiliary);
  Arena arena;
  graph.finish(arena);
  const std::vector<std::int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, at = {5, 3},
                                  targets = {2, 9};
  const std::vector<float> weights = {1, 1};
  const std::uint64_t seed = 1;
  graph.forward({2, 6, 1, tokens.data(), at.data(), targets.data(), weights.data(), 0, {&seed, 1}});
  graph.backward();
  const Parameter p = model.parameters().find("backbone.layers.0.sequence_mixer.selecting.weight");
  return {*graph.value<double>(out.loss).data,
          out.auxiliary ? *graph.value<double>(*out.auxiliary).data : 0,
          model.parameters().get_gradient(p, 0)[0]};
}

// Two layers with shares of about 1/2 where √6/6 = 0.408 are free.
TEST(SelectiveAttention, TheModelAddsItsPenaltyToWhatIsTrained) {
  for (const bool zoology : {false, true}) {
    const Step none = step(model_config(0, zoology), true);
    const Step apart = step(model_config(3, zoology), false);
    const Step added = step(model_config(3, zoology), true);
    EXPECT_EQ(none.auxiliary, 0);
    EXPECT_NEAR(apart.auxiliary, 2 * 3 * (0.5 - std::sqrt(6.0) / 6), 0.2);
    EXPECT_EQ(added.auxiliary, apart.auxiliary);
    EXPECT_EQ(added.loss, none.loss);
    EXPECT_EQ(apart.gradient, none.gradient);
    EXPECT_GT(std::abs(added.gradient - none.gradient), 1e-3);
  }
}

TEST(SelectiveAttention, TemperatureStartsAtAlphaTimesTheRootOfTheWidth) {
  MixerContext context;
  context.d_model = 16;
  const MadeMixer made = make_mixer("selective_attention",
                                    {{"selection", std::string("sma")}, {"alpha", 0.5}}, context);
  Parameters parameters(made.specs, DType::f64, 1);
  parameters.initialise(0, 7);
  EXPECT_EQ(parameters.get(parameters.find("temperature"), 0), std::vector<double>{2});
}

TEST(SelectiveAttention, OptionsOfOneSelectionAreUnknownToAnother) {
  MixerContext context;
  context.d_model = 16;
  EXPECT_THROW(make_mixer("selective_attention", {{"alpha", 0.5}}, context), Error);
  EXPECT_THROW(make_mixer("selective_attention",
                          {{"selection", std::string("sma")}, {"selection_penalty", 0.5}}, context),
               Error);
  EXPECT_THROW(make_mixer("selective_attention", {{"selection", std::string("hard")}}, context),
               Error);
}

}  // namespace
}  // namespace recallbench::testing
