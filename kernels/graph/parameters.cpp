#include "kernels/graph/parameters.h"

#include <cmath>
#include <numbers>
#include <set>

namespace recallbench {
namespace {

std::uint32_t name_hash(const std::string& name) {  // FNV-1a
  std::uint32_t hash = 2166136261u;
  for (const char c : name)
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

template <class T>
std::vector<double> to_host(const Matrix<T>& m) {
  std::vector<double> host;
  host.reserve(static_cast<std::size_t>(m.rows * m.cols));
  for (Index i = 0; i < m.rows; ++i)
    host.insert(host.end(), m.row(i), m.row(i) + m.cols);
  return host;
}

}  // namespace

Initialise constant(double value) {
  return [value](std::span<double> out, RandomStream&) {
    for (double& x : out)
      x = value;
  };
}

Initialise normal(double standard_deviation) {
  return [standard_deviation](std::span<double> out, RandomStream& random) {
    for (std::size_t i = 0; i < out.size(); i += 2) {  // Box and Muller
      const double radius = std::sqrt(-2 * std::log(random.uniform())) * standard_deviation;
      const double angle = 2 * std::numbers::pi * random.uniform();
      out[i] = radius * std::cos(angle);
      if (i + 1 < out.size()) out[i + 1] = radius * std::sin(angle);
    }
  };
}

Initialise uniform(double bound) {
  return [bound](std::span<double> out, RandomStream& random) {
    for (double& x : out)
      x = bound * (2 * random.uniform() - 1);
  };
}

Index ParameterSpec::rows() const {
  Index product = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i)
    product *= shape[i];
  return product;
}

Parameters::Parameters(std::vector<ParameterSpec> specs, DType type, Index replicas)
    : specs_(std::move(specs)), type_(type), replicas_(replicas) {
  const Index alignment = static_cast<Index>(kAlignment / size_of(type));
  std::set<std::string> names;
  for (const ParameterSpec& spec : specs_) {
    check(!spec.shape.empty() && spec.rows() * spec.cols() > 0, "Parameters",
          "'{}' must have at least one dimension and no empty one", spec.name);
    check(names.insert(spec.name).second, "Parameters", "'{}' is declared twice", spec.name);
    begins_.push_back(slab_);
    slab_ += (spec.rows() * spec.cols() + alignment - 1) / alignment * alignment;
  }
  const std::size_t bytes = static_cast<std::size_t>(slab_ * replicas_) * size_of(type);
  for (Arena* arena : {&values_, &gradients_, &moments_[0], &moments_[1]})
    arena->reserve(bytes);
}

Parameter Parameters::find(const std::string& name) const {
  for (int id = 0; id < count(); ++id)
    if (specs_[static_cast<std::size_t>(id)].name == name) return {id};
  return {};
}

void Parameters::initialise(Index replica, std::uint64_t seed) {
  for (int id = 0; id < count(); ++id) {
    const ParameterSpec& s = spec({id});
    std::vector<double> values(static_cast<std::size_t>(s.rows() * s.cols()));
    RandomStream random(seed, Purpose::initial_values, name_hash(s.name), 0);
    s.initialise(values, random);
    set({id}, replica, values);
  }
}

std::vector<double> Parameters::get(Parameter p, Index replica) const {
  return type_ == DType::f32 ? to_host(value<float>(p).replica(replica))
                             : to_host(value<double>(p).replica(replica));
}

std::vector<double> Parameters::get_gradient(Parameter p, Index replica) const {
  return type_ == DType::f32 ? to_host(gradient<float>(p).replica(replica))
                             : to_host(gradient<double>(p).replica(replica));
}

void Parameters::set(Parameter p, Index replica, std::span<const double> values) {
  const ParameterSpec& s = spec(p);
  check(static_cast<Index>(values.size()) == s.rows() * s.cols(), "Parameters::set",
        "'{}' has {} numbers, got {}", s.name, s.rows() * s.cols(), values.size());
  const auto copy = [&](auto* to) {
    for (const double x : values)
      *to++ = static_cast<std::remove_pointer_t<decltype(to)>>(x);
  };
  if (type_ == DType::f32)
    copy(value<float>(p).replica(replica).data);
  else
    copy(value<double>(p).replica(replica).data);
}

Index Parameters::trainable_numbers() const {
  Index sum = 0;
  for (const ParameterSpec& s : specs_)
    sum += s.trainable ? s.rows() * s.cols() : 0;
  return sum;
}

}  // namespace recallbench
