// How the Linear weights of every mixer start in a block of Mamba's.
#include <cmath>

#include "tests/mixers/support.h"

namespace recallbench::testing {
namespace {

constexpr Index kWidth = 64;

struct Projections {
  std::string in;                    ///< reads d_model numbers
  std::string out;                   ///< writes into the stream; "" where none does
  Index fan_in = kWidth;             ///< of `out`
  bool scaled_under_compat = false;  ///< Q5: the reference knows the name of `out`
  Values options = {};
};

const std::map<std::string, Projections> kMixers = {
    {"attention", {"Wqkv.weight", "out_proj.weight", kWidth, true}},
    {"base_conv", {"projection.weight", ""}},
    {"based", {"proj_q.weight", "proj_o.weight", kWidth, false, {{"num_heads", 1L}}}},
    {"delta_net", {"q_proj.weight", "o_proj.weight"}},
    {"gated_delta_net", {"q_proj.weight", "o_proj.weight", 2 * kWidth, false, {{"num_heads", 2L}}}},
    {"gla", {"q_proj.weight", "o_proj.weight"}},
    {"h3", {"q_proj.weight", "output_linear.weight"}},
    {"hgrn2", {"q_proj.weight", "o_proj.weight"}},
    {"hyena", {"in_proj.weight", "out_proj.weight", kWidth, true}},
    {"linear_attention", {"proj_q.weight", "proj_o.weight", kWidth, false, {{"num_heads", 1L}}}},
    {"mamba", {"in_proj.weight", "out_proj.weight", 2 * kWidth, true}},
    {"mamba2", {"in_proj.weight", "out_proj.weight", 2 * kWidth, true}},
    {"nsa", {"to_qkv.weight", "combine_heads.weight"}},
    {"retnet", {"q_proj.weight", "o_proj.weight", 2 * kWidth}},
    {"rwkv4", {"key.weight", "output.weight"}},
    {"rwkv7", {"r_proj.weight", "o_proj.weight"}},
    {"selective_attention", {"Wqkv.weight", "out_proj.weight", kWidth, true}},
    {"sliding_window", {"Wqkv.weight", "out_proj.weight", kWidth, true}},
    {"ttt_linear", {"ttt_layer.q_proj.weight", "ttt_layer.o_proj.weight"}},
    {"ttt_mlp", {"ttt_layer.q_proj.weight", "ttt_layer.o_proj.weight"}},
};

TEST(InitialValues, AreThoseOfPyTorchInAMambaBlock) {
  for (const std::string& name : mixer_registry().names()) {
    if (name == "identity") continue;
    ASSERT_EQ(kMixers.count(name), 1u) << name << " is missing here";
    const Projections& p = kMixers.at(name);
    for (const bool zoology : {false, true}) {
      SCOPED_TRACE(fmt::format("{}{}", name, zoology ? ", compat" : ""));
      const MadeMixer made = make({"", name, p.options, zoology, kWidth, 0, false});
      expect_uniform(initial(p.in, made), 1 / std::sqrt(static_cast<double>(kWidth)));
      if (p.out.empty()) continue;
      const bool scaled = !zoology || p.scaled_under_compat;  // two layers
      expect_uniform(initial(p.out, made),
                     1 / std::sqrt(static_cast<double>(p.fan_in * (scaled ? 2 : 1))));
    }
  }
}

}  // namespace
}  // namespace recallbench::testing
