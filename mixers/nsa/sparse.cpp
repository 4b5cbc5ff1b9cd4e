#include "mixers/nsa/sparse.h"

#include <algorithm>

#include "kernels/graph/execution.h"
#include "mixers/nsa/sparse_cpu.h"
#include "mixers/nsa/sparse_cuda.h"

namespace recallbench {
namespace {

template <class T>
MatrixGradient<T> gradient(const Execution& e, int input, Index r) {
  return gradient_of(e.input_gradient<T>(input), r);
}

class BlockRows : public TypedOperation<BlockRows> {
 public:
  BlockRows(const Tensor& x, const Tensor& places, Index block, Device device)
      : length_(x.shape[2]), block_(block), heads_(places.rows() / block) {
    reads(x, InBackward::unused);
    reads(places, InBackward::unused);
    const Index rows = std::max<Index>(1, length_ / block) * heads_, cols = block * places.cols();
    writes({x.shape[0], x.shape[1], rows, cols}, InBackward::unused);
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, block_rows_scratch(x.shape[0], x.shape[1] * rows / heads_, cols * heads_));
  }
  std::string_view name() const override { return "block_rows"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      block_rows_cpu(e.input<T>(0).replica(r), length_, e.input<T>(1).replica(r), block_,
                     e.output<T>(0).replica(r));
  }
  template <class T>
  void backward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      block_rows_backward_cpu(e.output_gradient<T>(0).replica(r), length_, block_,
                              gradient<T>(e, 0, r), gradient<T>(e, 1, r));
  }

  void forward_cuda(Execution& e) {
    block_rows_cuda(e.cuda(), e.input<float>(0), length_, e.input<float>(1), block_,
                    e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    block_rows_backward_cuda(e.cuda(), e.output_gradient<float>(0), length_, block_, heads_,
                             e.input_gradient<float>(0), e.input_gradient<float>(1),
                             e.scratch<float>());
  }

 private:
  Index length_, block_, heads_;
};

class WithMemory : public TypedOperation<WithMemory> {
 public:
  WithMemory(const Tensor& x, const Tensor& memory)
      : rows_(x.shape[2] + memory.rows() * memory.cols() / x.cols()) {
    reads(x, InBackward::unused);
    reads(memory, InBackward::unused);
    writes({x.shape[0], x.shape[1], rows_, x.cols()}, InBackward::unused);
  }
  std::string_view name() const override { return "with_memory"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      with_memory_cpu(e.input<T>(0).replica(r), e.input<T>(1).replica(r), rows_,
                      e.output<T>(0).replica(r));
  }
  template <class T>
  void backward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      with_memory_backward_cpu(e.output_gradient<T>(0).replica(r), rows_, gradient<T>(e, 0, r),
                               gradient<T>(e, 1, r));
  }

  void forward_cuda(Execution& e) {
    with_memory_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), rows_, e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    with_memory_backward_cuda(e.cuda(), e.output_gradient<float>(0), rows_,
                              e.input_gradient<float>(0), e.input_gradient<float>(1));
  }

 private:
  Index rows_;
};

/// The size with the positions of replica r and those behind it.
SparseSize placed(const SparseSize& size, const Execution& e, Index r, const char* who) {
  SparseSize s = size;
  if (!s.options.at_labels) return s;
  check(e.batch().labels == s.queries, who, "recorded for {} labels, the batch has {}", s.queries,
        e.batch().labels);
  s.at = e.batch().positions + r * s.examples * s.queries;
  return s;
}

class GroupedAttention : public TypedOperation<GroupedAttention> {
 public:
  GroupedAttention(const Tensor& q, const Tensor& k, const Tensor& v,
                   const std::optional<Tensor>& chosen, const SparseSize& size, Device device)
      : size_(size), chooses_(chosen.has_value()) {
    for (const Tensor& tensor : {q, k, v})
      reads(tensor, InBackward::read);
    if (chosen) reads_constant(*chosen, InBackward::read);
    writes(q.shape, InBackward::unused);
    needs_scratch(grouped_attention_scratch(size_), grouped_attention_scratch(size_));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, q.shape.replicas() * q.rows() * size_.options.heads * 2);
  }
  std::string_view name() const override { return "grouped_attention"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      grouped_attention_cpu(placed(size_, e, r, "grouped_attention"), e.input<T>(0).replica(r),
                            e.input<T>(1).replica(r), e.input<T>(2).replica(r), chosen<T>(e, r),
                            e.output<T>(0).replica(r), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      grouped_attention_backward_cpu(placed(size_, e, r, "grouped_attention"),
                                     e.input<T>(0).replica(r), e.input<T>(1).replica(r),
                                     e.input<T>(2).replica(r), chosen<T>(e, r),
                                     e.output_gradient<T>(0).replica(r), gradient<T>(e, 0, r),
                                     gradient<T>(e, 1, r), gradient<T>(e, 2, r), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    grouped_attention_cuda(e.cuda(), on_device(e), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    grouped_attention_backward_cuda(e.cuda(), on_device(e), e.output_gradient<float>(0),
                                    e.input_gradient<float>(0), e.input_gradient<float>(1),
                                    e.input_gradient<float>(2), e.scratch<float>());
  }

 private:
  SparseInputs on_device(const Execution& e) const {
    return {placed(size_, e, 0, "grouped_attention"), e.input<float>(0), e.input<float>(1),
            e.input<float>(2), chooses_ ? e.input<float>(3) : Batched<float>{}};
  }
  template <class T>
  Matrix<T> chosen(const Execution& e, Index r) const {
    return chooses_ ? e.input<T>(3).replica(r) : Matrix<T>{nullptr, 0, 0, 0};
  }

  SparseSize size_;
  bool chooses_;
};

class ChooseBlocks : public TypedOperation<ChooseBlocks> {
 public:
  ChooseBlocks(const Tensor& q, const Tensor& k, const SparseSize& size) : size_(size) {
    reads(q, InBackward::unused);
    reads(k, InBackward::unused);
    saves(q.shape.with_cols(size.groups * size.choices));
    needs_scratch(grouped_attention_scratch(size_), 0);
  }
  std::string_view name() const override { return "choose_blocks"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      choose_blocks_cpu(placed(size_, e, r, "choose_blocks"), e.input<T>(0).replica(r),
                        e.input<T>(1).replica(r), e.output<T>(0).replica(r), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution&) {}  // never called: its output has no gradient

  void forward_cuda(Execution& e) {
    choose_blocks_cuda(
        e.cuda(),
        {placed(size_, e, 0, "choose_blocks"), e.input<float>(0), e.input<float>(1), {}, {}},
        e.output<float>(0));
  }
  void backward_cuda(Execution&) {}

 private:
  SparseSize size_;
};

class CombineBranches : public TypedOperation<CombineBranches> {
 public:
  explicit CombineBranches(const std::vector<Tensor>& tensors) {
    for (const Tensor& tensor : tensors)
      reads(tensor, InBackward::read);
    writes(tensors[1].shape, InBackward::unused);
  }
  std::string_view name() const override { return "combine_branches"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> branches[] = {e.input<T>(1).replica(r), e.input<T>(2).replica(r),
                                    e.input<T>(3).replica(r)};
      combine_branches_cpu(e.input<T>(0).replica(r), branches, e.output<T>(0).replica(r));
    }
  }
  template <class T>
  void backward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> branches[] = {e.input<T>(1).replica(r), e.input<T>(2).replica(r),
                                    e.input<T>(3).replica(r)};
      const MatrixGradient<T> dbranches[] = {gradient<T>(e, 1, r), gradient<T>(e, 2, r),
                                             gradient<T>(e, 3, r)};
      combine_branches_backward_cpu(e.input<T>(0).replica(r), branches,
                                    e.output_gradient<T>(0).replica(r), gradient<T>(e, 0, r),
                                    dbranches);
    }
  }

  void forward_cuda(Execution& e) {
    combine_branches_cuda(e.cuda(), e.input<float>(0), branches(e), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    combine_branches_backward_cuda(
        e.cuda(), e.input<float>(0), branches(e), e.output_gradient<float>(0),
        e.input_gradient<float>(0),
        {{e.input_gradient<float>(1), e.input_gradient<float>(2), e.input_gradient<float>(3)}});
  }

 private:
  static Branches branches(const Execution& e) {
    return {{e.input<float>(1), e.input<float>(2), e.input<float>(3)}};
  }
};

SparseSize size_of(const char* who, const Tensor& q, const Tensor& k,
                   const GroupedAttentionOptions& o) {
  check(q.shape.rank() == 4 && k.shape.rank() == 4 && q.shape[1] == k.shape[1] && o.heads >= 1 &&
            o.kv_heads >= 1 && o.heads % o.kv_heads == 0 && q.cols() % o.heads == 0 &&
            k.cols() == q.cols() / o.heads * o.kv_heads,
        who, "expected q [R, B, n, {} f] and keys [R, B, K, {} f], got {} and {}", o.heads,
        o.kv_heads, q.shape.text(), k.shape.text());
  return {o, q.shape[1], q.shape[2], k.shape[2], q.cols() / o.heads, 0, o.kv_heads, nullptr};
}

}  // namespace

Tensor block_rows(Graph& graph, const Tensor& x, const Tensor& places) {
  const Index heads = x.cols() / places.cols();
  check(x.shape.rank() == 4 && x.cols() % places.cols() == 0 && places.rows() % heads == 0,
        "block_rows", "expected x [R, B, L, H f] and places [R, H block, f], got {} and {}",
        x.shape.text(), places.shape.text());
  return graph.add(
      std::make_unique<BlockRows>(x, places, places.rows() / heads, graph.device()))[0];
}

Tensor with_memory(Graph& graph, const Tensor& x, const Tensor& memory) {
  check(x.shape.rank() == 4 && x.cols() % memory.cols() == 0 &&
            memory.rows() % (x.cols() / memory.cols()) == 0,
        "with_memory", "expected x [R, B, W, H f] and memory [R, H M, f], got {} and {}",
        x.shape.text(), memory.shape.text());
  return graph.add(std::make_unique<WithMemory>(x, memory))[0];
}

Tensor grouped_attention(Graph& graph, const Tensor& q, const Tensor& k, const Tensor& v,
                         const GroupedAttentionOptions& options, std::optional<Tensor> chosen) {
  SparseSize size = size_of("grouped_attention", q, k, options);
  check(v.shape == k.shape && (options.visible == Visible::chosen) == chosen.has_value(),
        "grouped_attention",
        "expected values of the keys' shape {}, and chosen blocks where they are what is seen, got "
        "{}",
        k.shape.text(), v.shape.text());
  if (chosen) {
    check(chosen->cols() % options.choice_groups == 0, "grouped_attention",
          "expected choices of {} groups, got {}", options.choice_groups, chosen->shape.text());
    size.groups = options.choice_groups;
    size.choices = chosen->cols() / size.groups;
  }
  return graph.add(std::make_unique<GroupedAttention>(q, k, v, chosen, size, graph.device()))[0];
}

Tensor choose_blocks(Graph& graph, const Tensor& q, const Tensor& k,
                     const GroupedAttentionOptions& options, Index choices) {
  SparseSize size = size_of("choose_blocks", q, k, options);
  size.groups = options.choice_groups;
  size.choices = choices;
  check(choices >= 1 && size.groups % options.kv_heads == 0 && options.heads % size.groups == 0,
        "choose_blocks", "expected a choice or more for {} or {} groups, got {} for {}",
        options.kv_heads, options.heads, choices, size.groups);
  return graph.add(std::make_unique<ChooseBlocks>(q, k, size))[0];
}

Tensor combine_branches(Graph& graph, const Tensor& gates, const Tensor& a, const Tensor& b,
                        const Tensor& c) {
  check(a.shape == b.shape && a.shape == c.shape && gates.cols() % 3 == 0 &&
            a.cols() % (gates.cols() / 3) == 0 && gates.shape == a.shape.with_cols(gates.cols()),
        "combine_branches",
        "expected gates [R, B, n, 3 H] and branches [R, B, n, H f], got {} and {}",
        gates.shape.text(), a.shape.text());
  return graph.add(std::make_unique<CombineBranches>(std::vector<Tensor>{gates, a, b, c}))[0];
}

}  // namespace recallbench
