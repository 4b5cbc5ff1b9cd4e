// `recallbench forward` against the public implementation: every folder of tests/goldens/models.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "kernels/base/io/json.h"
#include "kernels/base/io/npy.h"
#include "kernels/base/io/safetensors.h"
#include "kernels/cuda/runtime.h"
#include "kernels/graph/graph.h"
#include "sweeps/forward/forward_model.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxBytes = 1 << 26;

fs::path cases_folder() {
  return fs::path(RECALLBENCH_SOURCE_DIR) / "tests/goldens/models";
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(cases_folder()))
    if (entry.is_directory()) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::nan("");
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i] - b[i])) return std::nan("");
    largest = std::max(largest, std::abs(a[i] - b[i]));
  }
  return largest;
}

struct GoldenCase {
  std::string name;
  Device device;
};

void PrintTo(const GoldenCase& c, std::ostream* out) {
  *out << c.name << (c.device == Device::cuda ? " on a GPU" : "");
}

// A GPU sums in another order: five times the tolerances that are the CPU's.
constexpr double kGpuShare = 5;

class GoldenModel : public ::testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    const auto& [name, device] = GetParam();
    if (device == Device::cuda && cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
    folder_ = cases_folder() / name;
    out_ = fs::temp_directory_path() / fmt::format("recallbench-golden-{}-{}", name, getpid());
    const Json trace = read("train_trace.json");
    try {
      forward_model({folder_ / "model.toml", folder_ / "weights.safetensors",
                     folder_ / "inputs.npy", folder_ / "labels.npy", out_,
                     trace.at("steps").as_int(), trace.at("lr").as_double(),
                     trace.at("weight_decay").as_double(), device});
    } catch (const NoCudaCode& error) {
      GTEST_SKIP() << error.what();
    }
    const Json notes = read("notes.json");
    tolerance_ = notes.at("tolerance");
  }
  void TearDown() override { fs::remove_all(out_); }

  Json read(const std::string& name) const {
    return read_json((folder_ / name).string(), ErrorKind::io);
  }
  Json written(const std::string& name) const {
    return read_json((out_ / name).string(), ErrorKind::io);
  }
  double bound(const char* name) const {
    const double share = GetParam().device == Device::cuda ? kGpuShare : 1;
    return share * tolerance_.at(name).as_double();
  }
  void expect_within(double error, double bound, const std::string& what) {
    fmt::print("{:28} {:40} {:.1e} of {:.1e}\n", GetParam().name, what, error, bound);
    if (!(error <= bound)) ADD_FAILURE() << what << ": " << error << " over " << bound;
  }

  void expect_logits(const std::string& file) {
    const NpyArray expected = read_npy((folder_ / file).string(), kMaxBytes);
    const NpyArray got = read_npy((out_ / file).string(), kMaxBytes);
    EXPECT_EQ(expected.shape, got.shape);
    EXPECT_EQ(got.type, StoredType::f32);
    expect_within(largest_difference(got.view().to_double(), expected.view().to_double()),
                  bound("logits_abs"), file);
  }

  fs::path folder_, out_;
  Json tolerance_;
};

TEST_P(GoldenModel, Logits) {
  expect_logits("logits.npy");
}

// Where the case has none, evaluation gives the same bits, and none are written.
TEST_P(GoldenModel, LogitsInEvaluation) {
  const bool expected = fs::exists(folder_ / "logits_eval.npy");
  ASSERT_EQ(fs::exists(out_ / "logits_eval.npy"), expected);
  if (expected) expect_logits("logits_eval.npy");
}

TEST_P(GoldenModel, Loss) {
  const Json expected = read("loss.json"), got = written("loss.json");
  EXPECT_EQ(got.at("num_labels").as_int(), expected.at("num_labels").as_int());
  EXPECT_EQ((got.find("auxiliary_loss") != nullptr), (expected.find("auxiliary_loss") != nullptr));
  for (const char* name : {"loss", "auxiliary_loss"}) {
    if (expected.find(name) == nullptr) continue;
    const double loss = expected.at(name).as_double();
    expect_within(std::abs(got.at(name).as_double() - loss) / loss, bound("loss_rel"), name);
  }
}

TEST_P(GoldenModel, EveryGradient) {
  const auto expected = Safetensors::read((folder_ / "grads.safetensors").string(), kMaxBytes);
  const auto got = Safetensors::read((out_ / "grads.safetensors").string(), kMaxBytes);
  EXPECT_EQ(got.names(), expected.names());
  double worst = 0;
  std::string where = "none";
  for (const std::string& name : expected.names()) {
    const std::vector<double> b = expected.at(name).to_double();
    double scale = 0;
    for (const double x : b)
      scale = std::max(scale, std::abs(x));
    const double allowed = bound("grad_rel_to_tensor_max") * scale + bound("grad_abs_floor");
    const double error = largest_difference(got.at(name).to_double(), b) / allowed;
    if (!(error <= 1)) ADD_FAILURE() << name << ": " << error << " times the tolerance";
    if (!(error <= worst)) {
      worst = error;
      where = name;
    }
  }
  expect_within(worst, 1, "gradients (share of tolerance)");
}

TEST_P(GoldenModel, TrainingTrace) {
  const Json expected = read("train_trace.json"), got = written("train_trace.json");
  for (const char* name : {"losses", "losses_with_auxiliary"}) {
    ASSERT_EQ((got.find(name) != nullptr), (expected.find(name) != nullptr)) << name;
    if (expected.find(name) == nullptr) continue;
    ASSERT_EQ(got.at(name).size(), expected.at(name).size());
    double worst = 0;
    for (std::size_t i = 0; i < expected.at(name).size(); ++i) {
      const double loss = expected.at(name).at(i).as_double();
      const double error = std::abs(got.at(name).at(i).as_double() - loss) / loss;
      if (!(error <= worst)) worst = error;
    }
    expect_within(worst, bound("train_trace_rel"), fmt::format("training trace, {}", name));
  }
}

TEST_P(GoldenModel, StateSize) {
  const Json expected = read("state_size.json"), got = written("state_size.json");
  EXPECT_EQ(got.at("sequence_length").as_int(), expected.at("sequence_length").as_int());
  const Json& bytes = expected.at("zoology_state_size_bytes");
  if (bytes.is_null()) {
    EXPECT_TRUE(got.at("published_bytes").is_null()) << got.at("published_bytes").compact();
  } else {
    EXPECT_EQ(got.at("published_bytes").as_double(), bytes.as_double());
  }
  EXPECT_GT(got.at("measured_bytes").as_int(), 0);
}

std::vector<GoldenCase> cases_on(Device device) {
  std::vector<GoldenCase> cases;
  for (const std::string& name : case_names())
    cases.push_back({name, device});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenModel, ::testing::ValuesIn(cases_on(Device::cpu)),
                         [](const auto& info) { return info.param.name; });
#ifdef RECALLBENCH_CUDA
INSTANTIATE_TEST_SUITE_P(Cuda, GoldenModel, ::testing::ValuesIn(cases_on(Device::cuda)),
                         [](const auto& info) { return info.param.name; });
#endif

}  // namespace
}  // namespace recallbench
