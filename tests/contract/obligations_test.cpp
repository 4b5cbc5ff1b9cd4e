// Every registered mixer keeps every obligation, in both forms and with its main options.
#include <gtest/gtest.h>

#include "sweeps/check/tiny_mqar.h"

namespace recallbench {
namespace {

using Int = std::int64_t;

struct Subject {
  std::string mixer;
  Values options;
  Index d_model = 12;
};

/// Option sets beyond the defaults, by mixer.
std::vector<Subject> more_subjects(bool zoology) {
  std::vector<Subject> all = {
      {"attention", {{"num_heads", Int{3}}, {"bias", false}}},
      {"sliding_window", {{"block_size", Int{4}}}},
      {"sliding_window", {{"block_size", Int{1024}}}},
      {"base_conv", {{"kernel_size", Int{600}}}},
      {"base_conv", {{"kernel_size", Int{1}}}},
      {"base_conv", {{"kernel_size", Int{4}}, {"use_act", true}}},
      {"base_conv", {{"kernel_size", Int{-1}}}},
      {"base_conv",
       {{"kernel_size", Int{-1}}, {"implicit_long_conv", false}, {"l_max", Int{1024}}}},
      {"mamba2",
       {{"d_state", Int{3}},
        {"headdim", Int{4}},
        {"ngroups", Int{2}},
        {"D_has_hdim", true},
        {"norm_before_gate", true},
        {"bias", true}}},
      {"mamba2", {{"d_state", Int{5}}, {"d_conv", Int{1}}, {"rmsnorm", false}}},
      {"hyena", {{"emb_dim", Int{5}}, {"short_filter_order", Int{1}}, {"shift", 0.1}}},
      {"h3", {{"d_state", Int{6}}, {"head_dim", Int{3}}}},
      {"nsa",
       {{"num_heads", Int{2}},
        {"kv_heads", Int{1}},
        {"causal", true},
        {"compress_block_size", Int{3}},
        {"selection_block_size", Int{3}},
        {"num_selected_blocks", Int{2}},
        {"num_compressed_mem_kv", Int{2}},
        {"sliding_window_size", Int{4}}}},
      {"nsa",
       {{"num_heads", Int{6}},
        {"kv_heads", Int{2}},
        {"query_heads_share_selected_kv", false},
        {"norm", false},
        {"compress_block_size", Int{2}},
        {"selection_block_size", Int{2}},
        {"compress_mlp_expand_factor", 1.5}}},
      {"selective_attention", {{"num_heads", Int{3}}, {"bias", false}, {"n_lookups", Int{3}}}},
      {"selective_attention", {{"selection", std::string("sma")}}},
      {"selective_attention", {{"selection", std::string("softmax")}, {"num_heads", Int{2}}}},
      {"ttt_linear",
       {{"num_heads", Int{2}},
        {"mini_batch_size", Int{5}},
        {"share_qk", true},
        {"conv_kernel", Int{3}},
        {"use_gate", true}}},
      {"ttt_mlp", {{"num_heads", Int{2}}, {"mini_batch_size", Int{4}}, {"ttt_base_lr", 0.5}}},
  };
  for (const char* map : {"taylor_exp", "pos_elu", "relu", "square", "cosformer", "performer"}) {
    Values options = {{"feature_map", std::string(map)},
                      {"feature_dim", Int{4}},
                      {"num_heads", Int{2}},
                      {"num_key_value_heads", Int{2}}};
    // Only the sound form has a horizon to be told.
    if (std::string(map) == "cosformer" && !zoology) options["max_length"] = Int{1024};
    all.push_back({"linear_attention", options});
  }
  return all;
}

std::vector<std::pair<Subject, bool>> subjects() {
  std::vector<std::pair<Subject, bool>> all;
  for (const bool zoology : {false, true}) {
    for (const std::string& name : mixer_registry().names())
      all.push_back({{name, {}}, zoology});
    for (const Subject& subject : more_subjects(zoology))
      all.push_back({subject, zoology});
  }
  return all;
}

class Contract : public ::testing::TestWithParam<std::pair<Subject, bool>> {};

TEST_P(Contract, Holds) {
  const auto& [subject, zoology] = GetParam();
  const MixerEntry& entry = mixer_registry().find(subject.mixer);
  const MixerContext context{1, 2, subject.d_model, zoology, entry.block == "transformer"};
  for (const Obligation& o : check_obligations(subject.mixer, entry, subject.options, context)) {
    EXPECT_FALSE(o.failed()) << o.number << " " << o.name << ": " << o.measured << " over "
                             << o.bound << ", " << o.detail;
  }
}

void PrintTo(const std::pair<Subject, bool>& subject, std::ostream* out) {
  *out << subject.first.mixer;
}

std::string subject_name(const ::testing::TestParamInfo<std::pair<Subject, bool>>& info) {
  std::string name = info.param.first.mixer;
  for (const auto& [key, value] : info.param.first.options)
    name += "_" + key + "_" + to_string(value);
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return fmt::format("{}_{}_{}", name, info.param.second ? "zoology" : "sound", info.index);
}

INSTANTIATE_TEST_SUITE_P(All, Contract, ::testing::ValuesIn(subjects()), subject_name);

class Learns : public ::testing::TestWithParam<std::string> {};

TEST_P(Learns, WhatItsTraitsSay) {
  const Obligation o = check_tiny_mqar(GetParam(), mixer_registry().find(GetParam()), {}, false);
  EXPECT_FALSE(o.failed()) << o.detail;
}

INSTANTIATE_TEST_SUITE_P(All, Learns, ::testing::ValuesIn(mixer_registry().names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace recallbench
