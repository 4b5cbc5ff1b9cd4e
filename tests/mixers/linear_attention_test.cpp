// Linear attention and BASED, every feature map: the fast forms against the decoder, gradients,
// causality, labelled rows, state sizes, options.
#include <gtest/gtest.h>

#include <cmath>

#include "mixers/obligations/lone_mixer.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

constexpr Index kWidth = 8;

struct Variant {
  std::string mixer;
  Values options;
  bool zoology;
  Index features;  ///< numbers of one head's φ that the decoder carries
  double published_features;
};

std::int64_t integer(const Variant& v, const std::string& key) {
  return std::get<std::int64_t>(v.options.at(key));
}

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const bool zoology : {false, true}) {
    for (const std::int64_t heads : {1, 2}) {
      const auto add = [&](const std::string& map, Values more, Index features, double published) {
        more.emplace("feature_map", map);
        more.emplace("feature_dim", std::int64_t{3});
        more.emplace("num_heads", heads);
        more.emplace("num_key_value_heads", heads);
        more.emplace("eps", 1e-12);
        all.push_back({"linear_attention", std::move(more), zoology, features, published});
      };
      add("taylor_exp", {}, 10, 10);
      add("identity", {}, 3, 3);
      add("relu", {{"temp", 0.8}}, 3, 3);
      add("pos_elu", {{"temp", 1.3}}, 3, 3);
      add("square", {{"train_view", std::string("linear")}}, 3, 3);
      add("cosformer", zoology ? Values{} : Values{{"max_length", std::int64_t{80}}}, 6, 6);
      add("performer", {{"expanded_dim", std::int64_t{11}}}, 11, 3);
      add("all_poly", {{"output_dim", std::int64_t{5}}}, 5, 5);
      add("softmax_dim", {}, 6, 3);
      add("hedgehog", {}, 6, 3);
    }
  }
  all.push_back({"based",
                 {{"num_heads", std::int64_t{2}}, {"num_key_value_heads", std::int64_t{2}}},
                 false,
                 153,
                 153});
  return all;
}

class LinearAttentionMaps : public ::testing::TestWithParam<Variant> {
 protected:
  LinearAttentionMaps()
      : made_(make_mixer(GetParam().mixer, GetParam().options,
                         {.d_model = kWidth, .zoology = GetParam().zoology})) {}

  /// Random numbers; where the kernel takes either sign, such that the sums stay away from 0.
  HostParameters parameters() const {
    auto values = random_parameters(made_.specs, 5, 0.4).all();
    if (map() == "identity") {
      auto& k = values.at("proj_k.weight");
      for (std::size_t i = 0; i < k.size(); ++i)
        k[i] = values.at("proj_q.weight")[i] + 0.1 * k[i];
    }
    if (map() == "all_poly")
      for (double& number : values.at("feature_map.proj_2.weight"))
        number = std::abs(number);
    return HostParameters(values);
  }
  MixerInput input(Index examples, Index length) const {
    MixerInput in = random_input(examples, length, kWidth, 9);
    if (map() == "identity")
      for (std::size_t i = 0; i < in.x.size(); ++i)
        in.x[i] = 0.3 * in.x[i] + 1 + static_cast<double>(i % kWidth);
    return in;
  }
  std::string map() const {
    const auto found = GetParam().options.find("feature_map");
    return found == GetParam().options.end() ? "taylor_exp" : std::get<std::string>(found->second);
  }

  MadeMixer made_;
};

void expect_close(const std::vector<double>& a, const std::vector<double>& b, double bound,
                  const std::string& what) {
  const double error = relative_error(a, b);
  if (!(error <= bound)) ADD_FAILURE() << what << ": error " << error << " over bound " << bound;
}

TEST_P(LinearAttentionMaps, ForwardEqualsTheDecoder) {
  for (const Index length : {1, 7, 70}) {
    const MixerInput in = input(2, length);
    const HostParameters values = parameters();
    const std::vector<double> expected = fold_decoder(made_, values, in);
    const std::string what = fmt::format("L = {}", length);
    expect_close(run_mixer<double>(made_, values, in, false).y, expected, 1e-10, what);
    expect_close(run_mixer<float>(made_, values, in, false).y, expected, 2e-5, what + " in float");
  }
}

TEST_P(LinearAttentionMaps, LabelledRowsAreRowsOfForward) {
  MixerInput in = input(2, 37);
  const HostParameters values = parameters();
  const std::vector<double> all = run_mixer<double>(made_, values, in, false).y;
  in.positions = {36, 0, 5, 17, 17, 3, 20, 35};
  expect_close(run_mixer<double>(made_, values, in, false).y, rows_at(all, in), 1e-11, "rows");
}

TEST_P(LinearAttentionMaps, GradientsEqualCentralDifferences) {
  MixerInput in = input(2, 9);
  std::string worst;
  for (const bool labelled : {false, true}) {
    if (labelled) in.positions = {8, 2, 2, 5, 0, 7};
    const double error = gradient_error(made_, parameters(), in, worst);
    if (!(error <= 1e-6)) ADD_FAILURE() << worst << ": error " << error;
  }
}

TEST_P(LinearAttentionMaps, IsCausal) {
  MixerInput in = input(1, 12);
  const HostParameters values = parameters();
  const std::vector<double> before = run_mixer<float>(made_, values, in, false).y;
  constexpr Index kChanged = 7;
  for (Index c = 0; c < kWidth; ++c)
    in.x[static_cast<std::size_t>(kChanged * kWidth + c)] += 1;
  const std::vector<double> after = run_mixer<float>(made_, values, in, false).y;
  const auto end = before.begin() + kChanged * kWidth;
  EXPECT_TRUE(std::equal(before.begin(), end, after.begin()));
  EXPECT_FALSE(std::equal(end, end + kWidth, after.begin() + kChanged * kWidth));
}

TEST_P(LinearAttentionMaps, CarriesTheNumbersOfItsTable) {
  const Variant& v = GetParam();
  const Index heads = integer(v, "num_heads");
  for (const Index length : {1, 19}) {
    Index numbers = 0;
    fold_decoder(made_, parameters(), input(1, length), &numbers);
    EXPECT_EQ(numbers, heads * (kWidth / heads + 1) * v.features) << "L = " << length;
    EXPECT_EQ(made_.mixer->published_state_size(length),
              4.0 * static_cast<double>(heads * (kWidth / heads + 1)) * v.published_features);
  }
  EXPECT_TRUE(made_.mixer->traits().fixed_state);
}

INSTANTIATE_TEST_SUITE_P(All, LinearAttentionMaps, ::testing::ValuesIn(variants()),
                         [](const auto& info) {
                           const auto found = info.param.options.find("feature_map");
                           return fmt::format("{}_{}_{}_{}", info.param.mixer,
                                              found == info.param.options.end()
                                                  ? "default"
                                                  : std::get<std::string>(found->second),
                                              integer(info.param, "num_heads"),
                                              info.param.zoology ? "zoology" : "sound");
                         });

// Reported by the reference for two heads of width 8 and f = 4, one layer (half of two).
TEST(LinearAttention, PublishedStateEqualsTheReference) {
  const auto bytes = [](const std::string& map, Values options) {
    options.emplace("feature_map", map);
    options.emplace("feature_dim", std::int64_t{4});
    options.emplace("num_heads", std::int64_t{2});
    return make_mixer("linear_attention", options, {.d_model = 16, .zoology = true})
        .mixer->published_state_size(16);
  };
  const Values two{{"num_key_value_heads", std::int64_t{2}}};
  const auto with = [&](const std::string& key, std::int64_t value) {
    Values options = two;
    options.emplace(key, value);
    return options;
  };
  EXPECT_EQ(bytes("taylor_exp", two), 2160 / 2);
  EXPECT_EQ(bytes("identity", two), 576 / 2);
  EXPECT_EQ(bytes("cosformer", two), 1152 / 2);
  EXPECT_EQ(bytes("performer", with("expanded_dim", 12)), 576 / 2);
  EXPECT_EQ(bytes("all_poly", with("output_dim", 6)), 864 / 2);
}

// Performer's random features: orthogonal rows, of a Gaussian vector's length on average in the
// paper, of length 1/√(m/f) in the reference (quirk Q14).
TEST(LinearAttention, PerformerDrawsOrthogonalRows) {
  constexpr Index f = 8, m = 400;
  for (const bool zoology : {false, true}) {
    const MadeMixer made = make_mixer("linear_attention",
                                      {{"feature_map", std::string("performer")},
                                       {"feature_dim", f},
                                       {"num_heads", std::int64_t{1}},
                                       {"num_key_value_heads", std::int64_t{1}},
                                       {"expanded_dim", m}},
                                      {.d_model = kWidth, .zoology = zoology});
    Parameters parameters(made.specs, DType::f64, 1);
    parameters.initialise(0, 3);
    const Parameter feats = parameters.find("feature_map.random_feats");
    EXPECT_FALSE(parameters.spec(feats).trainable);
    const std::vector<double> rows = parameters.get(feats, 0);
    const auto product = [&](Index i, Index j) {
      double sum = 0;
      for (Index c = 0; c < f; ++c)
        sum +=
            rows[static_cast<std::size_t>(i * f + c)] * rows[static_cast<std::size_t>(j * f + c)];
      return sum;
    };
    double mean_square = 0;
    for (Index i = 0; i < m; ++i) {
      mean_square += product(i, i) / static_cast<double>(m);
      for (Index j = i / f * f; j < i; ++j)
        EXPECT_NEAR(product(i, j), 0, 1e-12);
    }
    // A χ²(8) has mean 8 and variance 16: 400 of them average to 8 ± 0.2.
    EXPECT_NEAR(mean_square, zoology ? double(f) / m : 8.0, zoology ? 1e-12 : 0.8);
  }
}

TEST(LinearAttention, RejectsWrongOptions) {
  const auto message = [](Values options, bool zoology = false) -> std::string {
    try {
      make_mixer("linear_attention", options, {.d_model = kWidth, .zoology = zoology});
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      return e.what();
    }
    return "accepted";
  };
  const auto expect_names = [&](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expect_names(message({{"num_heads", std::int64_t{3}}}), "d_model = 8");
  expect_names(message({{"num_heads", std::int64_t{4}}, {"num_key_value_heads", std::int64_t{2}}}),
               "num_heads = 4");
  expect_names(message({{"feature_map", std::string("tailor_exp")}}), "taylor_exp");
  expect_names(message({{"feature_map", std::string("cosformer")}}), "max_length");
  expect_names(message({{"feature_map", std::string("relu")}, {"output_dim", std::int64_t{4}}}),
               "output_dim");
  expect_names(message({{"feature_dim", std::int64_t{0}}}), "feature_dim");
  expect_names(message({{"train_view", std::string("chunked")}}), "quadratic");
}

TEST(LinearAttention, CosformerRefusesMorePositionsThanItsHorizon) {
  const MadeMixer made = make_mixer(
      "linear_attention",
      {{"feature_map", std::string("cosformer")}, {"max_length", std::int64_t{4}}}, {.d_model = 8});
  const HostParameters values = random_parameters(made.specs, 1, 0.4);
  EXPECT_THROW(run_mixer<float>(made, values, random_input(1, 5, 8, 2), false), Error);
  EXPECT_THROW(made.mixer->decoder(values, 5), Error);
}

}  // namespace
}  // namespace recallbench::testing
