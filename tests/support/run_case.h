#pragma once

#include <cmath>
#include <vector>

#include "kernels/graph/op_case.h"
#include "kernels/graph/probe.h"

namespace recallbench::testing {

/// The case's inputs on the host.
std::vector<HostTensor> case_inputs(const OpCase& c, std::uint64_t seed);

/// What one replay of a case gave: outputs and, per input, gradients of Σ outputs ⊙
/// output_weight (of the first output, where that is a loss).
struct CaseResult {
  std::vector<std::vector<double>> outputs;
  std::vector<std::vector<double>> gradients;

  /// The largest magnitude of any gradient, or 1e-3. A gradient that is zero, or next to it, is the
  /// difference of numbers of this size: the error of its rounding is seen beside them.
  double gradient_scale() const;
};

/// Where a case runs; a GPU's arithmetic.
struct Placement {
  Device device = Device::cpu;
  Precision precision = Precision::fp32;
};

/// A case recorded in element type T, ready for replays.
template <class T>
class PreparedCase {
 public:
  PreparedCase(const OpCase& c, const std::vector<HostTensor>& inputs, bool training,
               Index replicas = 1, Placement placement = {});
  /// Forward and, where training, backward.
  void replay();
  /// The same with output gradients of one, for benchmarks: nothing but the operation runs.
  void replay_alone();
  CaseResult result(Index replica) const;

 private:
  void forward();

  HostBatch batch_;
  bool loss_;
  Index replicas_;
  bool training_;
  std::vector<std::uint64_t> seeds_;
  Parameters parameters_;
  Arena arena_, batch_memory_;
  Graph graph_;
  std::vector<Tensor> inputs_, outputs_;
};

/// Records the case in element type T with R replicas (all with the same inputs), replays it
/// forward and backward, and returns replica `replica`.
template <class T>
CaseResult run_case(const OpCase& c, const std::vector<HostTensor>& inputs, Index replicas = 1,
                    Index replica = 0, bool training = true, Placement placement = {});

}  // namespace recallbench::testing
