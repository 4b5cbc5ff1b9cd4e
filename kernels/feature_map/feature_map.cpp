#include "kernels/feature_map/feature_map.h"

#include "kernels/feature_map/feature_map_cpu.h"
#include "kernels/feature_map/feature_map_cuda.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class ElementwiseFeatures : public TypedOperation<ElementwiseFeatures> {
 public:
  ElementwiseFeatures(const Tensor& x, ElementwiseMap map, double temperature)
      : map_(map), temperature_(temperature) {
    reads(x, InBackward::read);
    writes(x.shape, InBackward::unused);
  }
  std::string_view name() const override { return "elementwise_features"; }

  template <class T>
  void forward_as(Execution& e) {
    elementwise_features_cpu(map_, static_cast<T>(temperature_), e.input<T>(0), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    elementwise_features_backward_cpu(map_, static_cast<T>(temperature_), e.input<T>(0),
                                      e.output_gradient<T>(0), e.input_gradient<T>(0));
  }
  void forward_cuda(Execution& e) {
    elementwise_features_cuda(e.cuda(), map_, static_cast<float>(temperature_), e.input<float>(0),
                              e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    elementwise_features_backward_cuda(e.cuda(), map_, static_cast<float>(temperature_),
                                       e.input<float>(0), e.output_gradient<float>(0),
                                       e.input_gradient<float>(0));
  }

 private:
  ElementwiseMap map_;
  double temperature_;
};

class CosformerFeatures : public TypedOperation<CosformerFeatures> {
 public:
  CosformerFeatures(const Tensor& x, const CosformerOptions& options)
      : options_(options), examples_(x.shape[1]), rows_(x.shape[2]) {
    reads(x, InBackward::read);
    writes(x.shape.with_cols(2 * x.cols()), InBackward::unused);
  }
  std::string_view name() const override { return "cosformer_features"; }

  template <class T>
  void forward_as(Execution& e) {
    cosformer_features_cpu(options_, positions(e), e.input<T>(0), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    cosformer_features_backward_cpu(options_, positions(e), e.input<T>(0), e.output_gradient<T>(0),
                                    e.input_gradient<T>(0));
  }
  void forward_cuda(Execution& e) {
    cosformer_features_cuda(e.cuda(), options_, positions(e), e.input<float>(0),
                            e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    cosformer_features_backward_cuda(e.cuda(), options_, positions(e), e.input<float>(0),
                                     e.output_gradient<float>(0), e.input_gradient<float>(0));
  }

 private:
  RowPositions positions(const Execution& e) const {
    check(!options_.at_labels || e.batch().labels == rows_, "cosformer_features",
          "recorded for {} labels, the batch has {}", rows_, e.batch().labels);
    return {options_.at_labels ? e.batch().positions : nullptr, examples_, rows_};
  }

  CosformerOptions options_;
  Index examples_, rows_;
};

class ExponentialFeatures : public TypedOperation<ExponentialFeatures> {
 public:
  ExponentialFeatures(const Tensor& x, const Tensor& projections, bool less_maximum)
      : less_maximum_(less_maximum) {
    reads(x, InBackward::read);
    reads(projections, InBackward::read);
    writes(projections.shape, InBackward::read);
  }
  std::string_view name() const override { return "exponential_features"; }

  template <class T>
  void forward_as(Execution& e) {
    exponential_features_cpu(less_maximum_, e.input<T>(0), e.input<T>(1), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    exponential_features_backward_cpu(less_maximum_, e.input<T>(0), e.input<T>(1), e.output<T>(0),
                                      e.output_gradient<T>(0), e.input_gradient<T>(0),
                                      e.input_gradient<T>(1));
  }
  void forward_cuda(Execution& e) {
    exponential_features_cuda(e.cuda(), less_maximum_, e.input<float>(0), e.input<float>(1),
                              e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    exponential_features_backward_cuda(
        e.cuda(), less_maximum_, e.input<float>(0), e.input<float>(1), e.output<float>(0),
        e.output_gradient<float>(0), e.input_gradient<float>(0), e.input_gradient<float>(1));
  }

 private:
  bool less_maximum_;
};

class PolynomialFeatures : public TypedOperation<PolynomialFeatures> {
 public:
  PolynomialFeatures(const Tensor& a, const Tensor& b) {
    reads(a, InBackward::read);
    reads(b, InBackward::unused);
    writes(a.shape, InBackward::unused);
  }
  std::string_view name() const override { return "polynomial_features"; }

  template <class T>
  void forward_as(Execution& e) {
    polynomial_features_cpu(e.input<T>(0), e.input<T>(1), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    polynomial_features_backward_cpu(e.input<T>(0), e.output_gradient<T>(0), e.input_gradient<T>(0),
                                     e.input_gradient<T>(1));
  }
  void forward_cuda(Execution& e) {
    polynomial_features_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    polynomial_features_backward_cuda(e.cuda(), e.input<float>(0), e.output_gradient<float>(0),
                                      e.input_gradient<float>(0), e.input_gradient<float>(1));
  }
};

class SoftmaxFeatures : public TypedOperation<SoftmaxFeatures> {
 public:
  SoftmaxFeatures(const Tensor& x, double scale, bool jointly) : scale_(scale), jointly_(jointly) {
    reads(x, InBackward::unused);
    writes(x.shape.with_cols(2 * x.cols()), InBackward::read);
  }
  std::string_view name() const override { return "softmax_features"; }

  template <class T>
  void forward_as(Execution& e) {
    softmax_features_cpu(static_cast<T>(scale_), jointly_, e.input<T>(0), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    softmax_features_backward_cpu(static_cast<T>(scale_), jointly_, e.output<T>(0),
                                  e.output_gradient<T>(0), e.input_gradient<T>(0));
  }
  void forward_cuda(Execution& e) {
    softmax_features_cuda(e.cuda(), static_cast<float>(scale_), jointly_, e.input<float>(0),
                          e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    softmax_features_backward_cuda(e.cuda(), static_cast<float>(scale_), jointly_,
                                   e.output<float>(0), e.output_gradient<float>(0),
                                   e.input_gradient<float>(0));
  }

 private:
  double scale_;
  bool jointly_;
};

}  // namespace

Tensor elementwise_features(Graph& graph, const Tensor& x, ElementwiseMap map, double temperature) {
  return graph.add(std::make_unique<ElementwiseFeatures>(x, map, temperature))[0];
}

Tensor cosformer_features(Graph& graph, const Tensor& x, const CosformerOptions& options) {
  check(x.shape.rank() == 4 && options.heads >= 1 && x.cols() % options.heads == 0,
        "cosformer_features", "expected x [R, B, n, H f] for {} heads, got {}", options.heads,
        x.shape.text());
  check(options.horizon >= 1 && (options.at_labels || x.shape[2] <= options.horizon),
        "cosformer_features", "expected at most {} positions (the horizon), got {}",
        options.horizon, x.shape.text());
  return graph.add(std::make_unique<CosformerFeatures>(x, options))[0];
}

Tensor exponential_features(Graph& graph, const Tensor& x, const Tensor& projections,
                            bool less_maximum) {
  check(x.shape.with_cols(projections.cols()) == projections.shape, "exponential_features",
        "expected x and projections with the same rows, got {} and {}", x.shape.text(),
        projections.shape.text());
  return graph.add(std::make_unique<ExponentialFeatures>(x, projections, less_maximum))[0];
}

Tensor polynomial_features(Graph& graph, const Tensor& a, const Tensor& b) {
  check(a.shape == b.shape, "polynomial_features", "expected equal shapes, got {} and {}",
        a.shape.text(), b.shape.text());
  return graph.add(std::make_unique<PolynomialFeatures>(a, b))[0];
}

Tensor softmax_features(Graph& graph, const Tensor& x, double scale, bool jointly) {
  return graph.add(std::make_unique<SoftmaxFeatures>(x, scale, jointly))[0];
}

}  // namespace recallbench
