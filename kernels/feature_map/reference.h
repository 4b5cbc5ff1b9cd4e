#pragma once

#include "kernels/feature_map/feature_map.h"
#include "kernels/graph/op_case.h"

namespace recallbench {

// The formulas of feature_map.h, number by number.
HostTensor elementwise_features_reference(const HostTensor& x, ElementwiseMap map,
                                          double temperature);
HostTensor cosformer_features_reference(const HostTensor& x, const HostBatch& batch,
                                        const CosformerOptions& options);
HostTensor exponential_features_reference(const HostTensor& x, const HostTensor& projections,
                                          bool less_maximum);
HostTensor polynomial_features_reference(const HostTensor& a, const HostTensor& b);
HostTensor softmax_features_reference(const HostTensor& x, double scale, bool jointly);

}  // namespace recallbench
