// The comparison with golden cases catches what it must, and finds the cases of a mixer.
#include "sweeps/check/golden_case.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/json.h"
#include "kernels/base/io/temporary_folder.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

const std::string kFolder = std::string(RECALLBENCH_SOURCE_DIR) + "/tests/goldens/models";

/// A copy of the case `attention`, to be spoilt.
class SpoiltCase : public testing::Test {
 protected:
  SpoiltCase() { fs::copy(kFolder + "/attention", folder_ / "attention"); }
  std::string file(const std::string& name) const { return folder_ / ("attention/" + name); }

  /// Adds `by` to the last float32 of a file.
  void shift_last_number(const std::string& name, float by) const {
    std::string bytes = read_file(file(name), 1 << 24);
    float number;
    std::memcpy(&number, bytes.data() + bytes.size() - sizeof number, sizeof number);
    number += by;
    std::memcpy(bytes.data() + bytes.size() - sizeof number, &number, sizeof number);
    publish(file(name), bytes);
  }
  void set(const std::string& name, const std::string& key, Json value) const {
    Json json = read_json(file(name), ErrorKind::io);
    json[key] = std::move(value);
    publish(file(name), json.indented());
  }

  /// What does not pass, in order.
  std::vector<std::string> caught() const {
    const GoldenReport report = run_golden_case(folder_.path(), "attention");
    std::vector<std::string> names;
    for (const GoldenComparison& c : report.comparisons)
      if (!c.passed()) names.push_back(c.what);
    EXPECT_EQ(report.failed(), !names.empty());
    EXPECT_EQ(report.passed(), names.empty());
    return names;
  }

  TemporaryFolder folder_;
};

using Names = std::vector<std::string>;

TEST_F(SpoiltCase, AnUnspoiltOnePasses) {
  EXPECT_EQ(caught(), Names{});
}

TEST_F(SpoiltCase, AWeightThatLies) {
  shift_last_number("weights.safetensors", 0.05F);
  EXPECT_EQ(caught(), (Names{"logits", "loss", "gradients", "training trace"}));
}

TEST_F(SpoiltCase, OneExpectedNumber) {
  shift_last_number("logits.npy", 1e-3F);
  EXPECT_EQ(caught(), Names{"logits"});
  shift_last_number("grads.safetensors", 1e-2F);
  EXPECT_EQ(caught(), (Names{"logits", "gradients"}));
}

TEST_F(SpoiltCase, NotANumber) {
  shift_last_number("logits.npy", std::numeric_limits<float>::quiet_NaN());
  shift_last_number("grads.safetensors", std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(caught(), (Names{"logits", "gradients"}));
}

TEST_F(SpoiltCase, LossTraceAndState) {
  const double loss = read_json(file("loss.json"), ErrorKind::io).at("loss").as_double();
  set("loss.json", "loss", loss * (1 + 1e-4));
  EXPECT_EQ(caught(), Names{"loss"});
  Json losses = read_json(file("train_trace.json"), ErrorKind::io).at("losses");
  Json::Array spoilt = losses.as_array();
  spoilt.back() = spoilt.back().as_double() * 1.01;
  set("train_trace.json", "losses", Json(spoilt));
  set("state_size.json", "zoology_state_size_bytes", 4095.0);
  EXPECT_EQ(caught(), (Names{"loss", "training trace", "state size"}));
  spoilt.pop_back();
  set("train_trace.json", "losses", Json(spoilt));
  set("state_size.json", "zoology_state_size_bytes", Json());
  set("loss.json", "num_labels", 1);
  EXPECT_EQ(caught(), (Names{"loss", "training trace", "state size"}));
}

TEST_F(SpoiltCase, WhatOneSideAloneHas) {
  set("loss.json", "auxiliary_loss", 0.1);
  fs::copy(file("logits.npy"), file("logits_eval.npy"));
  EXPECT_EQ(caught(), (Names{"logits in evaluation", "auxiliary_loss"}));
}

TEST_F(SpoiltCase, WhatCannotRunFailsAndSaysWhy) {
  fs::remove(file("weights.safetensors"));
  const GoldenReport report = run_golden_case(folder_.path(), "attention");
  ASSERT_TRUE(report.failed());
  EXPECT_NE(report.comparisons.at(0).detail.find("weights.safetensors"), std::string::npos);
}

TEST_F(SpoiltCase, NoComparisonIsNoPass) {
  EXPECT_FALSE(GoldenReport{}.passed());
  EXPECT_FALSE(GoldenReport{}.failed());
}

TEST(GoldenCases, ThoseOfAMixerAreThoseWithALayerOfIt) {
  EXPECT_GE(golden_cases(kFolder).size(), 41u);
  EXPECT_EQ(golden_cases_of("attention", kFolder),
            (Names{"attention", "attention_base_conv", "attention_glu", "attention_mlp",
                   "cycle_base_conv_attention"}));
  EXPECT_EQ(golden_cases_of("based", kFolder), (Names{"based", "based_base_conv"}));
  EXPECT_EQ(golden_cases_of("identity", kFolder), Names{});
}

TEST(GoldenCases, ACaseOfAnUnknownMixerIsNoHindrance) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "theirs");
  publish(folder / "theirs/model.toml", "[model]\nlayers = [{mixer = \"theirs\", knob = 1}]\n");
  fs::create_directory(folder / "notes");
  EXPECT_EQ(golden_cases(folder.path()), Names{"theirs"});
  EXPECT_EQ(golden_cases_of("theirs", folder.path()), Names{"theirs"});
  EXPECT_EQ(golden_cases_of("based", folder.path()), Names{});
}

TEST(GoldenCases, AMissingFolderIsAnError) {
  EXPECT_ERROR(golden_cases("/nowhere/at/all"), ErrorKind::usage, "is no folder");
}

}  // namespace
}  // namespace recallbench
