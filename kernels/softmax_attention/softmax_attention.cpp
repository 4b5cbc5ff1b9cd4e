#include "kernels/softmax_attention/softmax_attention.h"

#include <algorithm>

#include "kernels/graph/execution.h"
#include "kernels/softmax_attention/softmax_attention_cpu.h"
#include "kernels/softmax_attention/softmax_attention_cuda.h"

namespace recallbench {
namespace {

class SoftmaxAttention : public TypedOperation<SoftmaxAttention> {
 public:
  SoftmaxAttention(const Tensor& q, const Tensor& k, const Tensor& v,
                   const SoftmaxAttentionOptions& options, std::uint32_t random_id, Device device)
      : sizes_{q.shape[1],
               q.shape[2],
               k.shape[2],
               options.heads,
               k.cols() / options.heads,
               v.cols() / options.heads,
               options.scale,
               std::min(options.window.value_or(k.shape[2]), k.shape[2]),
               options.at_labels},
        dropout_(options.dropout),
        random_id_(random_id) {
    reads(q, InBackward::read);
    reads(k, InBackward::read);
    reads(v, InBackward::read);
    writes(q.shape.with_cols(v.cols()), InBackward::read);
    saves(Shape{q.shape[0], sizes_.examples, sizes_.heads, sizes_.queries});
    needs_scratch(sizes_.scratch_forward(), sizes_.scratch_backward());
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, softmax_attention_cuda_scratch(q.shape.replicas(), sizes_.examples,
                                                        sizes_.heads, sizes_.queries));
  }
  std::string_view name() const override { return "softmax_attention"; }

  template <class T>
  void forward_as(Execution& e) {
    check_labels(e);
    for (Index r = 0; r < e.replicas(); ++r)
      softmax_attention_forward_cpu(sizes_, replica<T>(e, r), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    const auto gradient = [&](int k, Index r) { return gradient_of(e.input_gradient<T>(k), r); };
    for (Index r = 0; r < e.replicas(); ++r)
      softmax_attention_backward_cpu(sizes_, replica<T>(e, r), e.output_gradient<T>(0).replica(r),
                                     gradient(0, r), gradient(1, r), gradient(2, r),
                                     e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    check_labels(e);
    softmax_attention_forward_cuda(e.cuda(), on_cuda(e));
  }
  void backward_cuda(Execution& e) {
    softmax_attention_backward_cuda(e.cuda(), on_cuda(e), e.output_gradient<float>(0),
                                    e.input_gradient<float>(0), e.input_gradient<float>(1),
                                    e.input_gradient<float>(2), e.scratch<float>());
  }

 private:
  void check_labels(const Execution& e) const {
    check(!sizes_.at_labels || e.batch().labels == sizes_.queries, "softmax_attention",
          "recorded for {} labels, the batch has {}", sizes_.queries, e.batch().labels);
  }

  AttentionCuda on_cuda(const Execution& e) const {
    return {.examples = sizes_.examples,
            .queries = sizes_.queries,
            .keys = sizes_.keys,
            .heads = sizes_.heads,
            .key_width = sizes_.key_width,
            .value_width = sizes_.value_width,
            .scale = sizes_.scale,
            .reach = sizes_.reach,
            .dropout = dropout_,
            .random_id = random_id_,
            .positions = sizes_.at_labels ? e.batch().positions : nullptr,
            .q = e.input<float>(0),
            .k = e.input<float>(1),
            .v = e.input<float>(2),
            .o = e.output<float>(0),
            .log_sum = e.output<float>(1)};
  }

  template <class T>
  AttentionReplica<T> replica(const Execution& e, Index r) const {
    AttentionReplica<T> a{e.input<T>(0).replica(r),
                          e.input<T>(1).replica(r),
                          e.input<T>(2).replica(r),
                          e.output<T>(0).replica(r),
                          e.output<T>(1).replica(r),
                          nullptr,
                          std::nullopt};
    if (sizes_.at_labels) a.positions = e.batch().positions + r * sizes_.examples * sizes_.queries;
    if (dropout_ > 0)
      a.mask = DropoutMask{e.batch().seeds[static_cast<std::size_t>(r)], e.batch().step, random_id_,
                           dropout_};
    return a;
  }

  AttentionSizes sizes_;
  double dropout_;
  std::uint32_t random_id_;
};

}  // namespace

Tensor softmax_attention(Graph& graph, const Tensor& q, const Tensor& k, const Tensor& v,
                         SoftmaxAttentionOptions options) {
  const char* who = "softmax_attention";
  for (const Tensor* tensor : {&q, &k, &v})
    check(tensor->shape.rank() == 4 && tensor->shape[1] == q.shape[1] &&
              tensor->shape[2] == (tensor == &q ? q : k).shape[2],
          who, "expected q [R, B, Lq, H dh], k [R, B, L, H dh], v [R, B, L, H dv], got {}, {}, {}",
          q.shape.text(), k.shape.text(), v.shape.text());
  check(options.heads >= 1 && q.cols() == k.cols() && q.cols() % options.heads == 0 &&
            v.cols() % options.heads == 0,
        who, "expected q and k of one width, all widths multiples of {} heads, got {}, {}, {}",
        options.heads, q.shape.text(), k.shape.text(), v.shape.text());
  check(options.at_labels || q.shape[2] == k.shape[2], who,
        "expected a query for every key, got {} and {}", q.shape.text(), k.shape.text());
  check(options.window.value_or(0) >= 0, who, "expected a window of 0 or more keys back, got {}",
        options.window.value_or(0));
  check(options.dropout >= 0 && options.dropout < 1, who,
        "expected a dropout probability in [0, 1), got {}", options.dropout);
  if (!graph.drops()) options.dropout = 0;
  const Index elements = q.shape[1] * options.heads * k.shape[2] * k.shape[2];
  if (options.dropout > 0 && elements > Index{1} << 34)
    fail(ErrorKind::usage, who,
         "dropout numbers B·H·L² = {}·{}·{}² probabilities, at most 2^34; lower the batch size, "
         "or set dropout to 0",
         q.shape[1], options.heads, k.shape[2]);
  const std::uint32_t random_id = options.dropout > 0 ? graph.next_random_id() : 0;
  return graph.add(
      std::make_unique<SoftmaxAttention>(q, k, v, options, random_id, graph.device()))[0];
}

}  // namespace recallbench
