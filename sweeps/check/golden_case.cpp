#include "sweeps/check/golden_case.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/json.h"
#include "kernels/base/io/npy.h"
#include "kernels/base/io/safetensors.h"
#include "kernels/base/io/temporary_folder.h"
#include "kernels/graph/graph.h"
#include "sweeps/config/node.h"
#include "sweeps/forward/forward_model.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 26;
constexpr double kGpuShare = 5;
constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

/// max |a - b|, NaN where one of them is or the sizes differ.
double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return kNoNumber;
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (std::isnan(difference)) return kNoNumber;
    largest = std::max(largest, difference);
  }
  return largest;
}

/// Compares what `forward` wrote into `got` with what the case in `expected` holds.
class Comparer {
 public:
  Comparer(fs::path expected, fs::path got, double share)
      : expected_(std::move(expected)),
        got_(std::move(got)),
        share_(share),
        tolerance_(read(expected_, "notes.json").at("tolerance")) {}

  std::vector<GoldenComparison> all() const {
    std::vector<GoldenComparison> found = {logits("logits", "logits.npy")};
    // Where the case has none, evaluation gives the same bits, and none are written.
    const bool expected = there(expected_, "logits_eval.npy"), got = there(got_, "logits_eval.npy");
    if (expected && got)
      found.push_back(logits("logits in evaluation", "logits_eval.npy"));
    else if (expected || got)
      found.push_back(misfit("logits in evaluation",
                             expected
                                 ? "they are those of training, in the reference they are not"
                                 : "they are not those of training, in the reference they are"));
    found.push_back(loss("loss"));
    if (both_have("loss.json", "auxiliary_loss", found)) found.push_back(loss("auxiliary_loss"));
    found.push_back(gradients());
    found.push_back(trace("losses", "training trace"));
    if (both_have("train_trace.json", "losses_with_auxiliary", found))
      found.push_back(trace("losses_with_auxiliary", "training trace with auxiliary loss"));
    found.push_back(state_size());
    return found;
  }

 private:
  static bool there(const fs::path& folder, const char* file) {
    return path_exists((folder / file).string());
  }
  static Json read(const fs::path& folder, const std::string& file) {
    return read_json((folder / file).string(), ErrorKind::io);
  }
  double bound(const char* name) const { return share_ * tolerance_.at(name).as_double(); }
  static GoldenComparison misfit(std::string what, std::string detail) {
    return {std::move(what), kNoNumber, 0, std::move(detail), false};
  }

  /// Whether both sides have `key`; that one alone has it is added to `found` as a failure.
  bool both_have(const char* file, const char* key, std::vector<GoldenComparison>& found) const {
    const bool expected = read(expected_, file).find(key) != nullptr;
    const bool got = read(got_, file).find(key) != nullptr;
    if (expected != got)
      found.push_back(misfit(key, expected ? "the reference has it, this model does not"
                                           : "this model has it, the reference does not"));
    return expected && got;
  }

  GoldenComparison logits(const char* what, const char* file) const {
    const NpyArray expected = read_npy((expected_ / file).string(), kMaxBytes);
    const NpyArray got = read_npy((got_ / file).string(), kMaxBytes);
    if (got.shape != expected.shape || got.type != StoredType::f32)
      return misfit(what, fmt::format("shape {} (float32) was expected, there is {}",
                                      shape_text(expected.shape), shape_text(got.shape)));
    return {what, largest_difference(got.view().to_double(), expected.view().to_double()),
            bound("logits_abs"), ""};
  }

  GoldenComparison loss(const char* name) const {
    const Json expected = read(expected_, "loss.json"), got = read(got_, "loss.json");
    const std::int64_t labels = expected.at("num_labels").as_int();
    if (got.at("num_labels").as_int() != labels)
      return misfit(name, fmt::format("{} labels were expected, there are {}", labels,
                                      got.at("num_labels").as_int()));
    const double loss = expected.at(name).as_double();
    return {name, std::abs((got.at(name).as_double() - loss) / loss), bound("loss_rel"), ""};
  }

  GoldenComparison gradients() const {
    const auto expected = Safetensors::read((expected_ / "grads.safetensors").string(), kMaxBytes);
    const auto got = Safetensors::read((got_ / "grads.safetensors").string(), kMaxBytes);
    if (got.names() != expected.names() || expected.names().empty())
      return misfit("gradients", "the parameters that have one are not the reference's");
    GoldenComparison worst{"gradients", 0, 1, ""};
    for (const std::string& name : expected.names()) {
      const std::vector<double> b = expected.at(name).to_double();
      double scale = 0;
      for (const double x : b)
        scale = std::max(scale, std::abs(x));
      const double allowed = bound("grad_rel_to_tensor_max") * scale + bound("grad_abs_floor");
      const double error = largest_difference(got.at(name).to_double(), b) / allowed;
      if (error <= worst.error) continue;
      worst.error = error;
      worst.detail = name;
      if (std::isnan(error)) break;
    }
    return worst;
  }

  GoldenComparison trace(const char* key, const char* what) const {
    const Json expected_file = read(expected_, "train_trace.json");
    const Json got_file = read(got_, "train_trace.json");
    const Json &expected = expected_file.at(key), &got = got_file.at(key);
    if (got.size() != expected.size() || expected.size() == 0)
      return misfit(
          what, fmt::format("{} losses were expected, there are {}", expected.size(), got.size()));
    GoldenComparison worst{what, 0, bound("train_trace_rel"), ""};
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double loss = expected.at(i).as_double();
      const double error = std::abs((got.at(i).as_double() - loss) / loss);
      if (error <= worst.error) continue;
      worst.error = error;
      worst.detail = fmt::format("after {} steps", i);
      if (std::isnan(error)) break;
    }
    return worst;
  }

  GoldenComparison state_size() const {
    const Json expected = read(expected_, "state_size.json"), got = read(got_, "state_size.json");
    const Json &bytes = expected.at("zoology_state_size_bytes"), &here = got.at("published_bytes");
    if (got.at("sequence_length").as_int() != expected.at("sequence_length").as_int() ||
        bytes.is_null() != here.is_null())
      return misfit("state size", fmt::format("{} bytes were expected, there are {}",
                                              bytes.compact(), here.compact()));
    const bool stateless = !bytes.is_null() && bytes.as_double() == 0;
    if (got.at("measured_bytes").as_int() <= 0 && !stateless)
      return misfit("state size", "the decoder carries nothing");
    if (bytes.is_null()) return {"state size", 0, 0, "none, as in the reference"};
    return {"state size", std::abs(here.as_double() - bytes.as_double()), 0, ""};
  }

  fs::path expected_, got_;
  double share_;
  Json tolerance_;
};

}  // namespace

bool GoldenReport::passed() const {
  return not_run.empty() && !comparisons.empty() && !failed();
}

bool GoldenReport::failed() const {
  return std::any_of(comparisons.begin(), comparisons.end(),
                     [](const GoldenComparison& c) { return !c.passed(); });
}

std::optional<std::string> default_goldens_folder() {
  std::error_code missing;
  if (!fs::is_directory(RECALLBENCH_SOURCE_GOLDENS, missing)) return std::nullopt;
  return RECALLBENCH_SOURCE_GOLDENS;
}

std::vector<std::string> golden_cases(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    fail(ErrorKind::usage, "golden",
         "'{}' is no folder; golden cases are folders with a model.toml in one folder",
         printable(folder));
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (fs::exists(entry.path() / "model.toml", error)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> golden_cases_of(const std::string& mixer, const std::string& folder) {
  // The tree alone: what a case of another mixer's plugin means need not be known here.
  const auto uses = [&](const Node& root) {
    const Table* file = root.get<Table>();
    const Node* model = file == nullptr ? nullptr : file->find("model");
    const Table* keys = model == nullptr ? nullptr : model->get<Table>();
    const Node* layers = keys == nullptr ? nullptr : keys->find("layers");
    const List* list = layers == nullptr ? nullptr : layers->get<List>();
    if (list == nullptr) return false;
    return std::any_of(list->begin(), list->end(), [&](const Node& layer) {
      const Table* options = layer.get<Table>();
      const Node* name = options == nullptr ? nullptr : options->find("mixer");
      return name != nullptr && name->get<std::string>() != nullptr &&
             *name->get<std::string>() == mixer;
    });
  };
  std::vector<std::string> names;
  for (const std::string& name : golden_cases(folder)) {
    const std::string file = (fs::path(folder) / name / "model.toml").string();
    if (uses(parse_toml(read_file(file, kMaxBytes, ErrorKind::usage), file))) names.push_back(name);
  }
  return names;
}

GoldenReport run_golden_case(const std::string& folder, const std::string& name, Device device) {
  GoldenReport report{name, "", {}};
  const fs::path expected = fs::path(folder) / name;
  const auto file = [&](const char* of) { return (expected / of).string(); };
  const TemporaryFolder out;
  try {
    const Json trace = read_json(file("train_trace.json"), ErrorKind::io);
    forward_model({file("model.toml"), file("weights.safetensors"), file("inputs.npy"),
                   file("labels.npy"), out.path(), trace.at("steps").as_int(),
                   trace.at("lr").as_double(), trace.at("weight_decay").as_double(), device});
    report.comparisons =
        Comparer(expected, out.path(), device == Device::cuda ? kGpuShare : 1).all();
  } catch (const NoCudaCode& error) {
    report.not_run = error.what();
  } catch (const std::exception& error) {
    report.comparisons.push_back({"run", kNoNumber, 0, error.what(), false});
  }
  return report;
}

}  // namespace recallbench
