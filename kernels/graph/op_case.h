#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/graph/graph.h"

namespace recallbench {

/// Numbers of one replica on the host, in double: what references compute with. The shape leaves
/// the replica out.
struct HostTensor {
  std::vector<Index> shape;
  std::vector<double> data;

  Index size() const { return static_cast<Index>(data.size()); }
};

/// Token-level inputs of a case, one replica: see Batch.
struct HostBatch {
  Index examples = 0, length = 0, labels = 0;
  std::vector<std::int32_t> tokens, positions, targets;
  std::vector<float> weights;
};

/// One configuration of one operation. The same case feeds the tests (double and float against
/// `reference`, gradients against central differences, threads, replicas, poisoned memory) and,
/// where `flops` is set, the benchmarks.
struct OpCase {
  std::string name;  ///< "linear/rows=33,in=7,out=5"
  /// Shapes of the inputs without the replica dimension; filled with standard normal numbers,
  /// times `scale`.
  std::vector<std::vector<Index>> inputs;
  double scale = 1.0;
  /// Records the operation; returns the outputs to compare.
  std::function<std::vector<Tensor>(Graph&, const std::vector<Tensor>& inputs)> build;
  /// Plain loops over one replica.
  std::function<std::vector<HostTensor>(const std::vector<HostTensor>& inputs, const HostBatch&)>
      reference;
  HostBatch batch;            ///< where the operation reads tokens, positions or labels
  double flops = 0;           ///< useful operations forward (0: no benchmark)
  bool tested = true;         ///< false for sizes that only the benchmarks run
  double float_bound = 2e-5;  ///< |f32 - reference| over the largest |reference|
  bool loss = false;          ///< its output is a loss, whose gradient is taken as it is
  bool smooth = true;         ///< false: no gradient check here (kinks), say why at the case
};

/// Every case of every operation, in the order of the folders; made by the build.
std::vector<OpCase> all_op_cases();

}  // namespace recallbench
