#include "kernels/group_norm/group_norm.h"

#include "kernels/graph/execution.h"
#include "kernels/group_norm/group_norm_cpu.h"
#include "kernels/group_norm/group_norm_cuda.h"

namespace recallbench {
namespace {

class GroupNorm : public TypedOperation<GroupNorm> {
 public:
  GroupNorm(const Tensor& x, const Tensor& weight, const Tensor& bias, Index groups, double eps,
            Device device)
      : groups_(groups), eps_(eps) {
    reads(x, InBackward::read);
    reads(weight, InBackward::read);
    reads(bias, InBackward::unused);
    writes(x.shape, InBackward::unused);
    saves(x.shape.with_cols(2 * groups));
    needs_scratch(0, group_norm_scratch(x.rows(), x.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, group_norm_cuda_scratch(x.shape.replicas(), x.rows(), x.cols(), groups));
  }
  std::string_view name() const override { return "group_norm"; }

  template <class T>
  void forward_as(Execution& e) {
    group_norm_forward_cpu(groups_, eps_, e.input<T>(0), e.input<T>(1), e.input<T>(2),
                           e.output<T>(0), e.output<T>(1));
  }
  template <class T>
  void backward_as(Execution& e) {
    group_norm_backward_cpu(groups_, e.input<T>(0), e.input<T>(1), e.output<T>(1),
                            e.output_gradient<T>(0), e.input_gradient<T>(0), e.input_gradient<T>(1),
                            e.input_gradient<T>(2), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    group_norm_forward_cuda(e.cuda(), groups_, eps_, e.input<float>(0), e.input<float>(1),
                            e.input<float>(2), e.output<float>(0), e.output<float>(1));
  }
  void backward_cuda(Execution& e) {
    group_norm_backward_cuda(e.cuda(), groups_, e.input<float>(0), e.input<float>(1),
                             e.output<float>(1), e.output_gradient<float>(0),
                             e.input_gradient<float>(0), e.input_gradient<float>(1),
                             e.input_gradient<float>(2), e.scratch<float>());
  }

 private:
  Index groups_;
  double eps_;
};

}  // namespace

Tensor group_norm(Graph& graph, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  Index groups, double eps) {
  check(groups >= 1 && x.cols() % groups == 0, "group_norm",
        "expected columns divisible by {} groups, got {}", groups, x.shape.text());
  for (const Tensor& channel : {weight, bias})
    check(channel.rows() == 1 && channel.cols() == x.cols(), "group_norm",
          "expected weight and bias [R, 1, {}], got {}", x.cols(), channel.shape.text());
  return graph.add(std::make_unique<GroupNorm>(x, weight, bias, groups, eps, graph.device()))[0];
}

}  // namespace recallbench
