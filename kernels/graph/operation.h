#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/graph/tensor.h"

namespace recallbench {

class Execution;

/// Whether an operation's backward reads a value that its forward read or wrote; what it does not
/// read need not be kept.
enum class InBackward { unused, read };

/// One recorded operation: what it reads and writes, and how, forward and backward. Both run for
/// all replicas at once. Inputs and outputs are numbered in the order in which the constructor
/// names them; `forward` and `backward` find their memory under these numbers in an Execution.
///
/// Authors never write in place. `forward` writes every element of each output. `backward` has
/// every output gradient and writes the gradients of those inputs that want one: each such
/// gradient says whether to overwrite or to add. No two of them share memory, so their order is
/// free: where inputs share numbers, the graph adds their gradients up.
class Operation {
 public:
  virtual ~Operation() = default;
  virtual std::string_view name() const = 0;
  virtual void forward(Execution& e) = 0;
  virtual void backward(Execution& e) = 0;

  /// Whether it can run on a GPU.
  virtual bool has_cuda() const { return false; }
  /// True for the loss: while a graph trains, `forward` already writes the input gradients (for a
  /// loss gradient of one), and `backward` is not called.
  virtual bool gradients_in_forward() const { return false; }

  struct Use {
    Tensor tensor;
    InBackward in_backward;
    bool constant;
  };
  struct Output {
    Shape shape;
    InBackward in_backward;
    bool differentiable;
  };
  const std::vector<Use>& inputs() const { return inputs_; }
  const std::vector<Output>& outputs() const { return outputs_; }
  Index scratch_elements(bool backward) const {
    return backward ? scratch_backward_ : scratch_forward_;
  }
  /// See the functions of these names below.
  bool works_beside() const { return works_beside_; }
  const std::vector<int>& gradients_beside() const { return gradients_beside_; }
  const std::vector<int>& outputs_beside() const { return outputs_beside_; }
  Index partial_sums() const { return partial_sums_; }
  /// Output whose memory may be that of the same-sized input, where that dies here; -1 for none.
  int reused_input() const { return reused_input_; }

 protected:
  void reads(const Tensor& tensor, InBackward in_backward) {
    inputs_.push_back({tensor, in_backward, false});
  }
  /// An input whose gradient backward does not write. One that wants a gradient is refused.
  void reads_constant(const Tensor& tensor, InBackward in_backward) {
    inputs_.push_back({tensor, in_backward, true});
  }
  void writes(const Shape& shape, InBackward in_backward) {
    outputs_.push_back({shape, in_backward, true});
  }
  /// An output without a gradient: something computed for backward, or for people.
  void saves(const Shape& shape) { outputs_.push_back({shape, InBackward::read, false}); }
  /// Numbers (of the graph's element type) of working memory, during forward and during backward.
  void needs_scratch(Index forward, Index backward) {
    scratch_forward_ = forward;
    scratch_backward_ = backward;
  }
  /// On a GPU, forward may leave work beside what follows (Execution::beside). It uses the batch,
  /// parameters, what backward reads, and forward's scratch, all of which stay until the end of the
  /// backward walk. It writes the gradients of these inputs and these outputs at most; whatever
  /// touches them waits for it, and so does the operation's own backward.
  void works_beside(std::vector<int> gradients, std::vector<int> outputs) {
    works_beside_ = true;
    gradients_beside_ = std::move(gradients);
    outputs_beside_ = std::move(outputs);
  }
  /// On a GPU, what backward hands to sum_partials_cuda is `numbers` of its scratch, each written
  /// once: small sums may then wait for the end of the backward walk, where one kernel takes many.
  void leaves_partial_sums(Index numbers) { partial_sums_ = numbers; }
  /// The same where backward needs no other scratch, and forward none.
  void needs_partial_sums(Index numbers) {
    needs_scratch(0, numbers);
    leaves_partial_sums(numbers);
  }
  /// forward computes output 0 element by element from input `k`, so the two may share memory.
  void may_reuse_input(int k) { reused_input_ = k; }

 private:
  std::vector<Use> inputs_;
  std::vector<Output> outputs_;
  Index scratch_forward_ = 0, scratch_backward_ = 0, partial_sums_ = 0;
  bool works_beside_ = false;
  std::vector<int> gradients_beside_, outputs_beside_;
  int reused_input_ = -1;
};

}  // namespace recallbench
