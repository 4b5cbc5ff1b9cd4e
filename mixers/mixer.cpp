#include "mixers/mixer.h"

#include <cmath>

#include "kernels/dropout/dropout.h"
#include "kernels/gather_rows/gather_rows.h"
#include "mixers/registry.h"

namespace recallbench {

const std::vector<double>& HostParameters::at(const std::string& name) const {
  const auto found = values_.find(name);
  check(found != values_.end(), "HostParameters", "no parameter '{}'", name);
  return found->second;
}

HostParameters HostParameters::below(const std::string& prefix) const {
  std::map<std::string, std::vector<double>> inner;
  for (auto it = values_.lower_bound(prefix); it != values_.end(); ++it) {
    if (it->first.compare(0, prefix.size(), prefix) != 0) break;
    inner.emplace(it->first.substr(prefix.size()), it->second);
  }
  return HostParameters(std::move(inner));
}

Initialise MixerContext::residual_weight() const {
  return normal(0.02 / std::sqrt(2.0 * n_layers));
}

void check_length(const char* mixer, const char* option, Index bound, Index length) {
  if (bound == 0 || length <= bound) return;
  fail(ErrorKind::usage, mixer,
       "{} = {} bounds the sequences, and one has {} tokens; raise it to the longest of training "
       "and test",
       option, bound, length);
}

Tensor Forward::dropout(const Tensor& x, double probability) {
  return drops() && probability > 0 ? recallbench::dropout(graph_, x, probability) : x;
}

Tensor SequenceMixer::forward_rows(Forward& f, const Tensor& x, Index labels) const {
  const Tensor y = forward(f, x);
  check(y.shape == x.shape, "mixer",
        "expected forward to return {}, the shape of x; it returned {}", x.shape.text(),
        y.shape.text());
  return gather_rows(f.graph(), y, labels);
}

MixerRegistry& mixer_registry() {
  static MixerRegistry registry = [] {
    MixerRegistry builtin("mixer");
    register_builtin_mixers(builtin);
    return builtin;
  }();
  return registry;
}

}  // namespace recallbench
