#include "kernels/rotary/rotary.h"

#include <cmath>
#include <optional>

#include "kernels/graph/execution.h"
#include "kernels/rotary/rotary_cpu.h"

namespace recallbench {
namespace {

class Rotary : public TypedOperation<Rotary> {
 public:
  Rotary(const Tensor& x, const std::optional<Tensor>& frequencies, std::vector<double> fixed,
         const RotaryOptions& options)
      : options_(options),
        fixed_(std::move(fixed)),
        pairs_(x.cols() / options.heads / 2),
        examples_(x.shape[1]),
        rows_(x.shape[2]) {
    reads(x, frequencies ? InBackward::read : InBackward::unused);
    if (frequencies) reads(*frequencies, InBackward::read);
    writes(x.shape, InBackward::unused);
    const Index numbers = (2 * options.positions + 1) * pairs_;
    needs_scratch(numbers, numbers);
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
    const Gradient<T> dfrequencies = fixed_.empty() ? e.input_gradient<T>(1) : Gradient<T>{};
    for (Index r = 0; r < e.replicas(); ++r) {
      const T* turns = table<T>(e, r);
      if (dx.wanted)
        rotary_cpu(rows(e, r), dy.replica(r), turns, true, dx.accumulate, dx.view.replica(r));
      if (dfrequencies.wanted)
        rotary_frequencies_backward_cpu(rows(e, r), e.input<T>(0).replica(r), dy.replica(r), turns,
                                        dfrequencies.accumulate, dfrequencies.view.replica(r).data);
    }
  }

 private:
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
      frequencies[i] = fixed_.empty() ? e.input<T>(1).replica(r).data[i]
                                      : static_cast<T>(fixed_[static_cast<std::size_t>(i)]);
    rotary_table_cpu(frequencies, pairs_, options_.positions, turns);
    return turns;
  }

  RotaryOptions options_;
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
  return graph.add(std::make_unique<Rotary>(x, frequencies, std::vector<double>(), options))[0];
}

Tensor rotary(Graph& graph, const Tensor& x, double theta, const RotaryOptions& options) {
  check_rotary(x, options);
  return graph.add(std::make_unique<Rotary>(
      x, std::nullopt, rotary_frequencies(theta, x.cols() / options.heads), options))[0];
}

std::vector<double> rotary_frequencies(double theta, Index f) {
  std::vector<double> frequencies;
  for (Index i = 0; i < f / 2; ++i)
    frequencies.push_back(std::pow(theta, -2 * static_cast<double>(i) / static_cast<double>(f)));
  return frequencies;
}

}  // namespace recallbench
