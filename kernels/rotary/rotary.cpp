#include "kernels/rotary/rotary.h"

#include <cmath>
#include <optional>

#include "kernels/graph/execution.h"
#include "kernels/rotary/rotary_cpu.h"
#include "kernels/rotary/rotary_cuda.h"

namespace recallbench {
namespace {

class Rotary : public TypedOperation<Rotary> {
 public:
  /// `theta` counts where `frequencies` is none.
  Rotary(const Tensor& x, const std::optional<Tensor>& frequencies, double theta,
         const RotaryOptions& options, Device device)
      : options_(options),
        given_(frequencies.has_value()),
        theta_(theta),
        pairs_(x.cols() / options.heads / 2),
        examples_(x.shape[1]),
        rows_(x.shape[2]) {
    if (!given_) fixed_ = rotary_frequencies(theta, 2 * pairs_);
    reads(x, given_ ? InBackward::read : InBackward::unused);
    if (given_) reads(*frequencies, InBackward::read);
    writes(x.shape, InBackward::unused);
    const Index numbers = (2 * options.positions + 1) * pairs_;
    needs_scratch(numbers, numbers);
    if constexpr (kCudaBuild)
      if (device == Device::cuda) {
        const Index replicas = x.shape.replicas(), summed = given_ ? x.rows() : 0;
        needs_scratch(rotary_cuda_scratch(replicas, options.positions, 0, pairs_),
                      rotary_cuda_scratch(replicas, options.positions, summed, pairs_));
      }
  }
  std::string_view name() const override { return "rotary"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      rotary_cpu(rows(e, r), e.input<T>(0).replica(r), table<T>(e, r), false, false,
                 e.output<T>(0).replica(r));
  }
  template <class T>
  void backward_as(Execution& e) {
    const Batched<T> dy = e.output_gradient<T>(0);
    const Gradient<T> dx = e.input_gradient<T>(0);
    const Gradient<T> dfrequencies = given_ ? e.input_gradient<T>(1) : Gradient<T>{};
    for (Index r = 0; r < e.replicas(); ++r) {
      const T* turns = table<T>(e, r);
      if (dx.wanted)
        rotary_cpu(rows(e, r), dy.replica(r), turns, true, dx.accumulate, dx.view.replica(r));
      if (dfrequencies.wanted)
        rotary_frequencies_backward_cpu(rows(e, r), e.input<T>(0).replica(r), dy.replica(r), turns,
                                        dfrequencies.accumulate, dfrequencies.view.replica(r).data);
    }
  }

  void forward_cuda(Execution& e) {
    rotary_forward_cuda(e.cuda(), on_device(e), e.input<float>(0), e.output<float>(0),
                        e.scratch<float>());
  }
  void backward_cuda(Execution& e) {
    rotary_backward_cuda(e.cuda(), on_device(e), e.input<float>(0), e.output_gradient<float>(0),
                         e.input_gradient<float>(0),
                         given_ ? e.input_gradient<float>(1) : Gradient<float>{},
                         e.scratch<float>());
  }

 private:
  RotaryCuda on_device(const Execution& e) const {
    return {rows(e, 0), given_ ? e.input<float>(1) : Batched<float>{}, theta_};
  }
  RotaryRows rows(const Execution& e, Index r) const {
    RotaryRows rows{options_.heads, pairs_,  options_.positions,
                    rows_,          nullptr, options_.pairs == RotaryPairs::halves};
    if (!options_.at_labels) return rows;
    check(e.batch().labels == rows_, "rotary", "recorded for {} labels, the batch has {}", rows_,
          e.batch().labels);
    rows.at = e.batch().positions + r * examples_ * rows_;
    return rows;
  }
  /// The turns, in scratch behind the frequencies.
  template <class T>
  const T* table(const Execution& e, Index r) const {
    T *frequencies = e.scratch<T>(), *turns = frequencies + pairs_;
    for (Index i = 0; i < pairs_; ++i)
      frequencies[i] = given_ ? e.input<T>(1).replica(r).data[i]
                              : static_cast<T>(fixed_[static_cast<std::size_t>(i)]);
    rotary_table_cpu(frequencies, pairs_, options_.positions, turns);
    return turns;
  }

  RotaryOptions options_;
  bool given_;  // frequencies are a tensor
  double theta_;
  std::vector<double> fixed_;  // frequencies, where they are no tensor
  Index pairs_, examples_, rows_;
};

void check_rotary(const Tensor& x, const RotaryOptions& o) {
  check(x.shape.rank() == 4 && o.heads >= 1 && x.cols() % (2 * o.heads) == 0 && o.positions >= 1,
        "rotary",
        "expected x [R, B, n, H f] with an even f for H = {} heads and a position or more, got {} "
        "and {}",
        o.heads, x.shape.text(), o.positions);
}

}  // namespace

Tensor rotary(Graph& graph, const Tensor& x, const Tensor& frequencies,
              const RotaryOptions& options) {
  check_rotary(x, options);
  check(frequencies.rows() == 1 && frequencies.cols() == x.cols() / options.heads / 2, "rotary",
        "expected {} frequencies for x {}, got {}", x.cols() / options.heads / 2, x.shape.text(),
        frequencies.shape.text());
  return graph.add(std::make_unique<Rotary>(x, frequencies, 0.0, options, graph.device()))[0];
}

Tensor rotary(Graph& graph, const Tensor& x, double theta, const RotaryOptions& options) {
  check_rotary(x, options);
  return graph.add(std::make_unique<Rotary>(x, std::nullopt, theta, options, graph.device()))[0];
}

std::vector<double> rotary_frequencies(double theta, Index f) {
  std::vector<double> frequencies;
  for (Index i = 0; i < f / 2; ++i)
    frequencies.push_back(std::pow(theta, -2 * static_cast<double>(i) / static_cast<double>(f)));
  return frequencies;
}

}  // namespace recallbench
