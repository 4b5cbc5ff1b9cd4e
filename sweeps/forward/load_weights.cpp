#include <fmt/ranges.h>

#include "kernels/base/io/safetensors.h"
#include "kernels/base/names.h"
#include "sweeps/forward/forward_model.h"

namespace recallbench {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 30;
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kWords = "backbone.embeddings.word_embeddings.weight";

/// Everything that is wrong with the names and shapes, at once.
void check_names(const Safetensors& file, const Parameters& parameters, bool tied) {
  std::vector<std::string> known, problems;
  for (const ParameterSpec& spec : parameters.specs()) {
    known.push_back(spec.name);
    if (!file.contains(spec.name)) {
      problems.push_back(fmt::format("'{}' {} is missing", spec.name, shape_text(spec.shape)));
    } else if (file.at(spec.name).shape != spec.shape) {
      problems.push_back(fmt::format("'{}' must have shape {}, it has {}", spec.name,
                                     shape_text(spec.shape), shape_text(file.at(spec.name).shape)));
    }
  }
  for (const std::string& name : file.names()) {
    if (parameters.find(name).id >= 0 || (tied && name == kHead)) continue;
    problems.push_back(
        fmt::format("'{}' is no parameter of this model{}", name, hint_for(name, known)));
  }
  if (problems.empty()) return;
  const std::size_t shown = std::min<std::size_t>(problems.size(), 8);
  fail(ErrorKind::usage, "weights", "{}: {}{}", file.source(),
       fmt::join(problems.begin(), problems.begin() + static_cast<std::ptrdiff_t>(shown), "; "),
       shown < problems.size() ? fmt::format("; and {} more", problems.size() - shown) : "");
}

}  // namespace

void load_weights(Model& model, const std::string& path) {
  const Safetensors file = Safetensors::read(path, kMaxBytes, ErrorKind::usage);
  Parameters& parameters = model.parameters();
  const bool tied = model.config().tie_embeddings;
  check_names(file, parameters, tied);
  for (int id = 0; id < parameters.count(); ++id)
    parameters.set({id}, 0, file.at(parameters.spec({id}).name).to_double());
  if (tied && file.contains(kHead) && file.at(kHead).to_double() != file.at(kWords).to_double())
    fail(ErrorKind::usage, "weights",
         "{}: the model ties '{}' to '{}', but the file gives them different values; set "
         "tie_embeddings = false",
         path, kHead, kWords);
}

}  // namespace recallbench
