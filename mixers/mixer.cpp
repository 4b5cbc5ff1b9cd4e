#include "mixers/mixer.h"

#include <cmath>

#include "kernels/gather_rows/gather_rows.h"
#include "kernels/matmul/matmul.h"
#include "mixers/initialise.h"
#include "mixers/registry.h"

namespace recallbench {

const std::vector<double>& HostParameters::at(const std::string& name) const {
  const auto found = values_.find(name);
  check(found != values_.end(), "HostParameters", "no parameter '{}'", name);
  return found->second;
}

const std::vector<double>& HostParameters::or_empty(const std::string& name) const {
  static const std::vector<double> none;
  const auto found = values_.find(name);
  return found == values_.end() ? none : found->second;
}

HostParameters HostParameters::below(const std::string& prefix) const {
  std::map<std::string, std::vector<double>> inner;
  for (auto it = values_.lower_bound(prefix); it != values_.end(); ++it) {
    if (it->first.compare(0, prefix.size(), prefix) != 0) break;
    inner.emplace(it->first.substr(prefix.size()), it->second);
  }
  return HostParameters(std::move(inner));
}

Initialise MixerContext::linear_weight(Index fan_in) const {
  return transformer_block ? normal(0.02) : torch_default(fan_in);
}

Initialise MixerContext::residual_weight(Index fan_in) const {
  return transformer_block ? normal(0.02 / std::sqrt(2.0 * n_layers))
                           : uniform(1 / std::sqrt(static_cast<double>(fan_in) * n_layers));
}

Initialise MixerContext::unrecognised_residual_weight(Index fan_in) const {
  return zoology ? linear_weight(fan_in) : residual_weight(fan_in);
}

void check_length(const char* mixer, const char* option, Index bound, Index length) {
  if (bound == 0 || length <= bound) return;
  fail(ErrorKind::usage, mixer,
       "{} = {} bounds the sequences, and one has {} tokens; raise it to the longest of training "
       "and test",
       option, bound, length);
}

std::optional<Tensor> Forward::optional(Parameter p) {
  return p.id < 0 ? std::nullopt : std::optional<Tensor>(parameter(p));
}

Tensor Forward::linear_part(const Tensor& x, Parameter weight, Parameter bias, Index first,
                            Index count) {
  std::optional<Tensor> offset = optional(bias);
  if (offset) offset = offset->columns(first, count);
  return linear(graph_, x, parameter(weight).row_range(first, count), offset);
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
