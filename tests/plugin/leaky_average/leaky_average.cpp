#include "leaky_average_cuda.h"

#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/graph/execution.h"
#include "kernels/matmul/matmul.h"
#include "mixers/plugin.h"

namespace {

using namespace recallbench;

/// h[t] = a ⊙ h[t-1] + (1 - a) ⊙ x[t] of x [R, B, L, D] with a [R, 1, D] → h [R, B, L, D].
class LeakyAverage : public TypedOperation<LeakyAverage> {
 public:
  LeakyAverage(const Tensor& x, const Tensor& a, Device device) : length_(x.shape[2]) {
    reads(x, InBackward::read);
    reads(a, InBackward::read);
    writes(x.shape, InBackward::read);
    const Index examples = x.shape[1];
    needs_scratch(0, device == Device::cuda ? x.shape.replicas() * examples * x.cols() : x.cols());
  }
  std::string_view name() const override { return "leaky_average"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> x = e.input<T>(0).replica(r), h = e.output<T>(0).replica(r);
      const T* a = e.input<T>(1).replica(r).row(0);
      for (Index i = 0; i < x.rows; ++i)
        for (Index c = 0; c < x.cols; ++c)
          h.row(i)[c] =
              (i % length_ > 0 ? a[c] * h.row(i - 1)[c] : T(0)) + (1 - a[c]) * x.row(i)[c];
    }
  }

  /// With g[t] = dh[t] + a ⊙ g[t+1]: dx[t] = (1 - a) ⊙ g[t], da = Σ_t g[t] ⊙ (h[t-1] - x[t]).
  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> dx = e.input_gradient<T>(0), da = e.input_gradient<T>(1);
    T* g = e.scratch<T>();
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> x = e.input<T>(0).replica(r), h = e.output<T>(0).replica(r);
      const Matrix<T> dh = e.output_gradient<T>(0).replica(r);
      const T* a = e.input<T>(1).replica(r).row(0);
      for (Index i = x.rows; i-- > 0;)
        for (Index c = 0; c < x.cols; ++c) {
          const bool last = i % length_ == length_ - 1, first = i % length_ == 0;
          g[c] = dh.row(i)[c] + (last ? T(0) : a[c] * g[c]);
          if (dx.wanted) {
            T& to = dx.view.replica(r).row(i)[c];
            to = (dx.accumulate ? to : T(0)) + (1 - a[c]) * g[c];
          }
          if (da.wanted) {
            T& to = da.view.replica(r).row(0)[c];
            const bool keep = da.accumulate || i < x.rows - 1;
            to = (keep ? to : T(0)) + g[c] * ((first ? T(0) : h.row(i - 1)[c]) - x.row(i)[c]);
          }
        }
    }
  }

  void forward_cuda(Execution& e) {
    leaky_average_cuda(e.cuda(), length_, e.input<float>(0), e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    leaky_average_backward_cuda(e.cuda(), length_, e.input<float>(0), e.input<float>(1),
                                e.output<float>(0), e.output_gradient<float>(0),
                                e.input_gradient<float>(0), e.input_gradient<float>(1),
                                e.scratch<float>());
  }

 private:
  Index length_;
};

class LeakyDecoder : public Decoder {
 public:
  LeakyDecoder(std::vector<double> logit, std::vector<double> weight)
      : logit_(std::move(logit)), weight_(std::move(weight)) {}
  State start() const override { return {std::vector<double>(logit_.size()), {}}; }
  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    std::vector<double>& h = state.numbers;
    for (std::size_t c = 0; c < x.size(); ++c) {
      const double a = 1 / (1 + std::exp(-logit_[c]));
      h[c] = a * h[c] + (1 - a) * x[c];
    }
    for (std::size_t o = 0; o < y.size(); ++o) {
      y[o] = 0;
      for (std::size_t c = 0; c < x.size(); ++c)
        y[o] += weight_[o * x.size() + c] * h[c];
    }
  }

 private:
  std::vector<double> logit_, weight_;
};

class LeakyMixer : public SequenceMixer {
 public:
  LeakyMixer(const MixerContext& context, ParameterDeclarer& d) {
    logit_ = d.undecayed("decay.logit", {context.d_model}, uniform(3));
    weight_ = d.weight("out_proj.weight", {context.d_model, context.d_model},
                       context.residual_weight(context.d_model));
  }
  Tensor forward(Forward& f, const Tensor& x) const override {
    const Tensor a = activate(f.graph(), Activation::sigmoid, f.parameter(logit_));
    const Tensor h = f.graph().add(std::make_unique<LeakyAverage>(x, a, f.graph().device()))[0];
    return linear(f.graph(), h, f.parameter(weight_));
  }
  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return std::make_unique<LeakyDecoder>(parameters.at("decay.logit"),
                                          parameters.at("out_proj.weight"));
  }
  std::optional<double> published_state_size(Index) const override { return std::nullopt; }
  Traits traits() const override { return {true, true, 0.0, 0.3}; }

 private:
  Parameter logit_, weight_;
};

void register_leaky_average(MixerRegistry& registry) {
  registry.add("leaky_average", {"An average of the past with a learned decay for each channel.",
                                 [](const MixerContext& context, Options&, ParameterDeclarer& d) {
                                   return std::make_unique<LeakyMixer>(context, d);
                                 }});
}

}  // namespace

RECALLBENCH_PLUGIN(register_leaky_average)
