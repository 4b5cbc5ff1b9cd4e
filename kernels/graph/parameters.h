#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/philox.h"
#include "kernels/tensor/arena.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Type of a graph's floating-point numbers: f32 to train, f64 to check gradients.
enum class DType { f32, f64 };
inline std::size_t size_of(DType type) {
  return type == DType::f32 ? 4 : 8;
}
template <class T>
inline constexpr DType kDType = sizeof(T) == 4 ? DType::f32 : DType::f64;

/// Draws a parameter's initial values, on the host, in double.
using Initialise = std::function<void(std::span<double> values, RandomStream& random)>;
Initialise constant(double value);
Initialise normal(double standard_deviation);
/// Uniform in (-bound, bound).
Initialise uniform(double bound);

/// How a parameter is declared: all that is known of it before it has values.
struct ParameterSpec {
  std::string name;          ///< as in the reference's state_dict
  std::vector<Index> shape;  ///< as there; stored as [product of all but the last, last]
  Initialise initialise;
  bool decays = true;     ///< weight decay acts on it
  bool trainable = true;  ///< false: a buffer or frozen; never a gradient

  Index rows() const;
  Index cols() const { return shape.back(); }
};

/// Which parameter; given out by declaring it.
struct Parameter {
  int id = -1;
};

/// What is kept for each number of a parameter.
enum class Slot { value, gradient, first_moment, second_moment };

/// Owns weights, gradients and the optimizer's moments of R replicas, in the memory of a device;
/// outlives graphs. A replica's numbers lie in one slab, each parameter at a multiple of
/// kAlignment bytes. A GPU holds f32 alone.
class Parameters {
 public:
  Parameters(std::vector<ParameterSpec> specs, DType type, Index replicas,
             Device device = Device::cpu);

  const std::vector<ParameterSpec>& specs() const { return specs_; }
  const ParameterSpec& spec(Parameter p) const { return specs_[static_cast<std::size_t>(p.id)]; }
  int count() const { return static_cast<int>(specs_.size()); }
  DType type() const { return type_; }
  Index replicas() const { return replicas_; }
  Device device() const { return values_.device(); }
  /// The one of that name, or id -1.
  Parameter find(const std::string& name) const;

  /// Draws every parameter of `replica`: stream keyed by `seed` and the parameter's name, so that
  /// a parameter's values depend on no other.
  void initialise(Index replica, std::uint64_t seed);

  /// Views of the device's memory: for operations. The host reads and writes by get and set.
  template <class T>
  Batched<T> value(Parameter p) const {
    return view<T>(values_, p);
  }
  template <class T>
  Batched<T> gradient(Parameter p) const {
    return view<T>(gradients_, p);
  }
  template <class T>
  Batched<T> moment(int which, Parameter p) const {
    return view<T>(moments_[which], p);
  }

  /// Host copies in double, row-major; the size must agree.
  std::vector<double> get(Parameter p, Index replica) const;
  void set(Parameter p, Index replica, std::span<const double> values);
  std::vector<double> get_gradient(Parameter p, Index replica) const;

  /// One replica's whole slab of f32 parameters, [slab] numbers, to the host and back.
  std::vector<float> get_slab(Slot slot, Index replica) const;
  void set_slab(Slot slot, Index replica, std::span<const float> numbers);

  /// Numbers a replica trains, each parameter once.
  Index trainable_numbers() const;

  /// Elements from replica to replica, and where a parameter begins in a slab.
  Index slab() const { return slab_; }
  Index begin(Parameter p) const { return begins_[static_cast<std::size_t>(p.id)]; }

 private:
  const Arena& arena(Slot slot) const;
  std::vector<double> read(Slot slot, Parameter p, Index replica) const;
  std::size_t slab_bytes() const { return static_cast<std::size_t>(slab_) * size_of(type_); }

  template <class T>
  Batched<T> view(const Arena& arena, Parameter p) const {
    check(kDType<T> == type_, "Parameters", "asked for another element type than they have");
    const ParameterSpec& s = spec(p);
    return {reinterpret_cast<T*>(arena.data()) + begin(p),
            replicas_,
            s.rows(),
            s.cols(),
            s.cols(),
            slab_};
  }

  std::vector<ParameterSpec> specs_;
  std::vector<Index> begins_;
  DType type_;
  Index replicas_;
  Index slab_ = 0;
  Arena values_, gradients_, moments_[2];
};

}  // namespace recallbench
