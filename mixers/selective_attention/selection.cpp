#include "mixers/selective_attention/selection.h"

#include "kernels/elementwise/elementwise_cpu.h"
#include "kernels/graph/execution.h"
#include "mixers/selective_attention/selection_cpu.h"
#include "mixers/selective_attention/selection_cuda.h"

namespace recallbench {
namespace {

/// A replica of a gradient, without data where it is not wanted.
template <class T>
Matrix<T> wanted(const Gradient<T>& g, Index r) {
  return g.wanted ? g.view.replica(r) : Matrix<T>{nullptr, 0, 0, 0};
}

class PositionSoftmax : public TypedOperation<PositionSoftmax> {
 public:
  PositionSoftmax(const Tensor& z, bool causal) : length_(z.shape[2]), causal_(causal) {
    reads(z, InBackward::read);
    writes(z.shape, InBackward::read);
  }
  std::string_view name() const override { return "position_softmax"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      position_softmax_cpu(e.input<T>(0).replica(r), length_, causal_, e.output<T>(0).replica(r));
  }
  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> dz = e.input_gradient<T>(0);
    for (Index r = 0; dz.wanted && r < e.replicas(); ++r)
      position_softmax_backward_cpu(e.input<T>(0).replica(r), e.output<T>(0).replica(r),
                                    e.output_gradient<T>(0).replica(r), length_, causal_,
                                    dz.accumulate, dz.view.replica(r));
  }

  void forward_cuda(Execution& e) {
    position_softmax_cuda(e.cuda(), e.input<float>(0), length_, causal_, e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    position_softmax_backward_cuda(e.cuda(), e.output<float>(0), e.output_gradient<float>(0),
                                   length_, causal_, e.input_gradient<float>(0));
  }

 private:
  Index length_;
  bool causal_;
};

class TemperedGate : public TypedOperation<TemperedGate> {
 public:
  TemperedGate(const Tensor& z, const Tensor& temperature, Device device) {
    reads(z, InBackward::read);
    reads(temperature, InBackward::read);
    writes(z.shape.with_cols(1), InBackward::read);
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, tempered_gate_scratch(z.shape.replicas(), z.rows()));
  }
  std::string_view name() const override { return "tempered_gate"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      tempered_gate_cpu(e.input<T>(0).replica(r), *e.input<T>(1).replica(r).data,
                        e.output<T>(0).replica(r));
  }
  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> dz = e.input_gradient<T>(0), dtemperature = e.input_gradient<T>(1);
    for (Index r = 0; r < e.replicas(); ++r)
      tempered_gate_backward_cpu(e.input<T>(0).replica(r), *e.input<T>(1).replica(r).data,
                                 e.output<T>(0).replica(r), e.output_gradient<T>(0).replica(r),
                                 dz.accumulate, wanted(dz, r), dtemperature.accumulate,
                                 wanted(dtemperature, r).data);
  }

  void forward_cuda(Execution& e) {
    tempered_gate_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    tempered_gate_backward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.output<float>(0),
                                e.output_gradient<float>(0), e.input_gradient<float>(0),
                                e.input_gradient<float>(1), e.scratch<float>());
  }
};

class KeepLookups : public TypedOperation<KeepLookups> {
 public:
  KeepLookups(const Tensor& s, Index k, Device device) : length_(s.shape[2]), k_(k) {
    reads(s, InBackward::unused);
    writes(s.shape, InBackward::read);
    needs_scratch(s.rows(), 0);
    if constexpr (kCudaBuild)
      if (device == Device::cuda) needs_scratch(s.shape.replicas() * s.rows(), 0);
  }
  std::string_view name() const override { return "keep_lookups"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      keep_lookups_cpu(e.input<T>(0).replica(r), length_, k_, e.output<T>(0).replica(r),
                       reinterpret_cast<std::int32_t*>(e.scratch<T>()));
  }
  /// Which are kept is a constant: those that are not (or are 0) get no gradient.
  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> ds = e.input_gradient<T>(0);
    for (Index r = 0; ds.wanted && r < e.replicas(); ++r) {
      const Matrix<T> to = ds.view.replica(r), d = e.output_gradient<T>(0).replica(r);
      for (Index i = 0; i < to.rows; ++i) {
        const T passed = *e.output<T>(0).replica(r).row(i) != T(0) ? *d.row(i) : T(0);
        *to.row(i) = ds.accumulate ? *to.row(i) + passed : passed;
      }
    }
  }

  void forward_cuda(Execution& e) {
    keep_lookups_cuda(e.cuda(), e.input<float>(0), length_, k_, e.output<float>(0),
                      reinterpret_cast<std::int32_t*>(e.scratch<float>()));
  }
  void backward_cuda(Execution& e) {
    keep_lookups_backward_cuda(e.cuda(), e.output<float>(0), e.output_gradient<float>(0),
                               e.input_gradient<float>(0));
  }

 private:
  Index length_, k_;
};

class LookupPenalty : public TypedOperation<LookupPenalty> {
 public:
  LookupPenalty(const Tensor& s, double weight, double share, Device device)
      : examples_(s.shape[1]), length_(s.shape[2]), weight_(weight), share_(share) {
    reads(s, InBackward::unused);
    writes(Shape{s.shape[0], 1, 1}, InBackward::read);
    if constexpr (kCudaBuild)
      if (device == Device::cuda) needs_scratch(0, s.shape.replicas() * examples_);
  }
  std::string_view name() const override { return "lookup_penalty"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r) {
      const double mean =
          lookup_mean_cpu(e.input<T>(0).replica(r), length_, weights(e, r), e.batch().labels);
      *e.output<T>(0).replica(r).data =
          static_cast<T>(mean > share_ ? weight_ * (mean - share_) : 0);
    }
  }
  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> ds = e.input_gradient<T>(0);
    for (Index r = 0; ds.wanted && r < e.replicas(); ++r) {
      const bool above = *e.output<T>(0).replica(r).data > T(0);
      const double d = static_cast<double>(*e.output_gradient<T>(0).replica(r).data);
      lookup_mean_backward_cpu(length_, weights(e, r), e.batch().labels, above ? weight_ * d : 0,
                               ds.accumulate, ds.view.replica(r));
    }
  }

  void forward_cuda(Execution& e) {
    lookup_penalty_cuda(e.cuda(), e.input<float>(0), length_, {weights(e, 0), e.batch().labels},
                        weight_, share_, e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    lookup_penalty_backward_cuda(e.cuda(), e.output<float>(0), e.output_gradient<float>(0), length_,
                                 {weights(e, 0), e.batch().labels}, weight_,
                                 e.input_gradient<float>(0), e.scratch<float>());
  }

 private:
  /// Of replica r and those behind it.
  const float* weights(const Execution& e, Index r) const {
    const float* all = e.batch().weights;
    return all == nullptr ? nullptr : all + r * examples_ * e.batch().labels;
  }

  Index examples_, length_;
  double weight_, share_;
};

class AddScaled : public TypedOperation<AddScaled> {
 public:
  AddScaled(const Tensor& x, const Tensor& s, const Tensor& a) {
    reads(x, InBackward::unused);
    reads(s, InBackward::read);
    reads(a, InBackward::read);
    writes(x.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "add_scaled"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      add_scaled_cpu(e.input<T>(0).replica(r), e.input<T>(1).replica(r), e.input<T>(2).replica(r),
                     e.output<T>(0).replica(r));
  }
  template <class T>
  void backward_as(Execution& e) {
    copy_cpu(e.output_gradient<T>(0), e.input_gradient<T>(0));
    const Gradient<T> ds = e.input_gradient<T>(1), da = e.input_gradient<T>(2);
    for (Index r = 0; r < e.replicas(); ++r)
      add_scaled_backward_cpu(e.input<T>(1).replica(r), e.input<T>(2).replica(r),
                              e.output_gradient<T>(0).replica(r), ds.accumulate, wanted(ds, r),
                              da.accumulate, wanted(da, r));
  }

  void forward_cuda(Execution& e) {
    add_scaled_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.input<float>(2),
                    e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    add_scaled_backward_cuda(e.cuda(), e.input<float>(1), e.input<float>(2),
                             e.output_gradient<float>(0), e.input_gradient<float>(0),
                             e.input_gradient<float>(1), e.input_gradient<float>(2));
  }
};

void check_share(const char* who, const Tensor& s, Index cols) {
  check(s.shape.rank() == 4 && s.cols() == cols, who, "expected [R, B, L, {}], got {}", cols,
        s.shape.text());
}

}  // namespace

Tensor position_softmax(Graph& graph, const Tensor& z, bool causal) {
  check_share("position_softmax", z, 1);
  return graph.add(std::make_unique<PositionSoftmax>(z, causal))[0];
}

Tensor tempered_gate(Graph& graph, const Tensor& z, const Tensor& temperature) {
  check_share("tempered_gate", z, 2);
  check(temperature.shape.per_replica() == 1, "tempered_gate", "expected one temperature, got {}",
        temperature.shape.text());
  return graph.add(std::make_unique<TemperedGate>(z, temperature, graph.device()))[0];
}

Tensor keep_lookups(Graph& graph, const Tensor& s, Index k) {
  check_share("keep_lookups", s, 1);
  return graph.add(std::make_unique<KeepLookups>(s, k, graph.device()))[0];
}

Tensor lookup_penalty(Graph& graph, const Tensor& s, double weight, double share) {
  check_share("lookup_penalty", s, 1);
  return graph.add(std::make_unique<LookupPenalty>(s, weight, share, graph.device()))[0];
}

Tensor add_scaled(Graph& graph, const Tensor& x, const Tensor& s, const Tensor& a) {
  check_share("add_scaled", s, 1);
  check(x.shape == a.shape && s.shape == x.shape.with_cols(1), "add_scaled",
        "expected x and a of one shape and s of its rows, got {}, {} and {}", x.shape.text(),
        a.shape.text(), s.shape.text());
  return graph.add(std::make_unique<AddScaled>(x, s, a))[0];
}

}  // namespace recallbench
