// hgrn2: obligations at odd configurations, closed and open gates, state, options.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

using Int = std::int64_t;

MixerConfig hgrn2(const Values& options, Index d_model, bool zoology = false) {
  return {"", "hgrn2", options, zoology, d_model};
}

TEST(Hgrn2Forms, OddConfigurationsKeepTheObligations) {
  for (const auto& [options, d_model] :
       {std::pair<Values, Index>{{{"expand_ratio", Int{7}}, {"lower_bound", 0.6}}, 21},
        {{{"expand_ratio", Int{1}}}, 3},
        {{{"expand_ratio", Int{4}}, {"num_heads", Int{2}}, {"norm_eps", 0.01}}, 8}})
    expect_obligations(hgrn2(options, d_model));
}

// Gates far from 0 in either direction: decays that are 0 or 1 in float, over many chunks.
TEST(Hgrn2Forms, GatesMayBeShutOrWideOpen) {
  const MadeMixer made = make(hgrn2({{"expand_ratio", Int{4}}}, 8));
  auto values = random_parameters(made.specs, 3, 0.5).all();
  for (double& w : values.at("f_proj.weight"))
    w *= 60;
  const HostParameters parameters(values);
  const MixerInput input = random_input(2, 100, 8, 5);
  const std::vector<double> folded = fold_decoder(made, parameters, input);
  EXPECT_LE(relative_error(run_mixer<double>(made, parameters, input, true).y, folded), 1e-10);
  const MixerRun in_float = run_mixer<float>(made, parameters, input, true);
  EXPECT_LE(relative_error(in_float.y, folded), 1e-4);
  for (const auto& [name, gradient] : in_float.gradients)
    for (const double number : gradient)
      EXPECT_TRUE(std::isfinite(number)) << name;
}

TEST(Hgrn2State, IsOneMatrixForEachHead) {
  const MadeMixer made = make(hgrn2({{"expand_ratio", Int{4}}}, 24, true));
  EXPECT_EQ(state_numbers(made, 9), 6 * 4 * 4);
  EXPECT_EQ(made.mixer->published_state_size(64), 4.0 * 6 * 4 * 4);
  EXPECT_EQ(make(hgrn2({}, 256)).mixer->published_state_size(64), 4.0 * 128 * 256);
}

// The reference's layer takes norm_eps and uses 1e-5.
TEST(Hgrn2Norm, EpsActsOnlySoundly) {
  const auto output = [](bool zoology, double eps) {
    const MadeMixer made = make(hgrn2({{"norm_eps", eps}}, 8, zoology));
    return run_mixer<double>(made, random_parameters(made.specs, 3, 0.5), random_input(1, 5, 8, 5),
                             false)
        .y;
  };
  EXPECT_EQ(output(true, 0.5), output(true, 1e-5));
  EXPECT_NE(output(false, 0.5), output(false, 1e-5));
  EXPECT_EQ(output(false, 1e-5), output(true, 1e-5));
}

TEST(Hgrn2Options, WrongOnesAreRefused) {
  expect_refused(hgrn2({{"expand_ratio", Int{5}}}, 16), "must divide d_model = 16");
  expect_refused(hgrn2({{"expand_ratio", Int{8}}, {"num_heads", Int{4}}}, 16), "expand_ratio = 2");
  expect_refused(hgrn2({{"lower_bound", 1.0}}, 16), "lower_bound");
  expect_refused(hgrn2({{"use_short_conv", true}}, 16), "base_conv");
}

}  // namespace
}  // namespace recallbench::testing
