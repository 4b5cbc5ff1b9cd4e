#include "kernels/graph/parameters.h"

#include <cmath>
#include <numbers>
#include <set>

#include "kernels/tensor/device_copy.h"

namespace recallbench {
namespace {

std::uint32_t name_hash(const std::string& name) {  // FNV-1a
  std::uint32_t hash = 2166136261u;
  for (const char c : name)
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
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

Parameters::Parameters(std::vector<ParameterSpec> specs, DType type, Index replicas, Device device)
    : specs_(std::move(specs)),
      type_(type),
      replicas_(replicas),
      values_(device),
      gradients_(device),
      moments_{Arena(device), Arena(device)} {
  check(device == Device::cpu || type == DType::f32, "Parameters", "a GPU holds f32 alone");
  const Index alignment = static_cast<Index>(kAlignment / size_of(type));
  std::set<std::string> names;
  for (const ParameterSpec& spec : specs_) {
    check(!spec.shape.empty() && spec.rows() * spec.cols() > 0, "Parameters",
          "'{}' must have at least one dimension and no empty one", spec.name);
    check(names.insert(spec.name).second, "Parameters", "'{}' is declared twice", spec.name);
    begins_.push_back(slab_);
    slab_ += (spec.rows() * spec.cols() + alignment - 1) / alignment * alignment;
  }
  for (Arena* arena : {&values_, &gradients_, &moments_[0], &moments_[1]})
    arena->reserve(slab_bytes() * static_cast<std::size_t>(replicas_));
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

const Arena& Parameters::arena(Slot slot) const {
  switch (slot) {
    case Slot::value:
      return values_;
    case Slot::gradient:
      return gradients_;
    case Slot::first_moment:
      return moments_[0];
    case Slot::second_moment:
      break;
  }
  return moments_[1];
}

std::vector<double> Parameters::read(Slot slot, Parameter p, Index replica) const {
  return type_ == DType::f32 ? read_matrix(device(), view<float>(arena(slot), p).replica(replica))
                             : read_matrix(device(), view<double>(arena(slot), p).replica(replica));
}

std::vector<double> Parameters::get(Parameter p, Index replica) const {
  return read(Slot::value, p, replica);
}

std::vector<double> Parameters::get_gradient(Parameter p, Index replica) const {
  return read(Slot::gradient, p, replica);
}

void Parameters::set(Parameter p, Index replica, std::span<const double> values) {
  const ParameterSpec& s = spec(p);
  check(static_cast<Index>(values.size()) == s.rows() * s.cols(), "Parameters::set",
        "'{}' has {} numbers, got {}", s.name, s.rows() * s.cols(), values.size());
  type_ == DType::f32 ? write_matrix(device(), values, value<float>(p).replica(replica))
                      : write_matrix(device(), values, value<double>(p).replica(replica));
}

std::vector<float> Parameters::get_slab(Slot slot, Index replica) const {
  check(type_ == DType::f32, "Parameters::get_slab", "expected f32 parameters");
  std::vector<float> numbers(static_cast<std::size_t>(slab_));
  copy_to_host(device(), numbers.data(),
               arena(slot).data() + static_cast<std::size_t>(replica) * slab_bytes(), slab_bytes());
  return numbers;
}

void Parameters::set_slab(Slot slot, Index replica, std::span<const float> numbers) {
  check(type_ == DType::f32 && static_cast<Index>(numbers.size()) == slab_, "Parameters::set_slab",
        "expected {} f32 numbers, got {}", slab_, numbers.size());
  copy_to_device(device(), arena(slot).data() + static_cast<std::size_t>(replica) * slab_bytes(),
                 numbers.data(), slab_bytes());
}

Index Parameters::trainable_numbers() const {
  Index sum = 0;
  for (const ParameterSpec& s : specs_)
    sum += s.trainable ? s.rows() * s.cols() : 0;
  return sum;
}

}  // namespace recallbench
