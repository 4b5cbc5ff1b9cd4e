// Which tokens attend, and the price of too many: numbers of a token each, 0.3 MB for 65,536, so
// that latency decides. To keep the k largest is evaluation alone: one thread a sequence runs the
// code of the CPU, as many sequences at a time as the GPU holds warps.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "mixers/selective_attention/blocks.cuh"
#include "mixers/selective_attention/largest_first.h"
#include "mixers/selective_attention/selection_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256;
constexpr int kPenaltyThreads = 1024, kPenaltyWarps = kPenaltyThreads / 32;

struct AboveOneHalf {
  template <int kVec>
  __device__ void operator()(int, Index, const float (&s)[kVec], const float (&)[kVec],
                             float (&kept)[kVec]) const {
    for (int i = 0; i < kVec; ++i)
      kept[i] = s[i] > 0.5f ? s[i] : 0;
  }
};

/// The gradient of what was kept.
struct WhereKept {
  template <int kVec>
  __device__ void operator()(int, Index, const float (&kept)[kVec], const float (&d)[kVec],
                             float (&ds)[kVec]) const {
    for (int i = 0; i < kVec; ++i)
      ds[i] = kept[i] != 0 ? d[i] : 0;
  }
};

/// A warp has a sequence, one thread of it the choice.
__global__ void __launch_bounds__(32)
    keep_lookups(Batched<float> s, Index length, Index k, Batched<float> kept, std::int32_t* all) {
  after_previous();
  const Index replica = blockIdx.y, first = blockIdx.x * length;
  std::int32_t* const order = all + replica * s.rows + first;
  for (Index i = threadIdx.x; i < length; i += 32)
    order[i] = static_cast<std::int32_t>(i);
  __syncwarp();
  if (threadIdx.x == 0)
    LargestFirst<float>(place_of(s, replica, first), s.stride, order).select(length, k);
  __syncwarp();
  for (Index i = threadIdx.x; i < length; i += 32) {
    const Index row = first + order[i];
    *place_of(kept, replica, row) = i < k ? *place_of(s, replica, row) : 0;
  }
}

/// Whether sequence b of the replica has a label of weight above 0; the warp asks together.
__device__ bool counts(const LookupWeights& w, Index replica, Index examples, Index b) {
  if (w.weights == nullptr) return true;
  const float* of_sequence = w.weights + (replica * examples + b) * w.labels;
  bool any = false;
  for (Index j = threadIdx.x % 32; j < w.labels; j += 32)
    any |= of_sequence[j] > 0;
  return __any_sync(0xffffffffu, any);
}

/// One block a replica, whose warps take sequences in turn.
__global__ void __launch_bounds__(kPenaltyThreads)
    lookup_penalty(Batched<float> s, Index length, LookupWeights w, float weight, float share,
                   Batched<float> penalty) {
  after_previous();
  __shared__ float warps[kPenaltyWarps];
  const Index replica = blockIdx.x, examples = s.rows / length;
  const int lane = threadIdx.x % 32;
  float sum = 0, sequences = 0;
  for (Index b = threadIdx.x / 32; b < examples; b += kPenaltyWarps) {
    if (!counts(w, replica, examples, b)) continue;
    sequences += lane == 0 ? 1 : 0;
#pragma unroll 8
    for (Index t = lane; t < length; t += 32)
      sum += *place_of(s, replica, b * length + t);
  }
  sum = block_sum<kPenaltyThreads>(sum, warps);
  sequences = block_sum<kPenaltyThreads>(sequences, warps);
  if (threadIdx.x != 0) return;
  const float mean = sum / fmaxf(sequences * static_cast<float>(length), 1);
  *place_of(penalty, replica, 0) = mean > share ? weight * (mean - share) : 0;
}

/// each[replica, b] = the gradient at every token of sequence b.
__global__ void __launch_bounds__(kPenaltyThreads)
    penalty_of_sequences(Batched<float> penalty, Batched<float> dpenalty, Index examples,
                         Index length, LookupWeights w, float weight, float* each) {
  after_previous();
  __shared__ float warps[kPenaltyWarps];
  const Index replica = blockIdx.x;
  float* const to = each + replica * examples;
  float sequences = 0;
  for (Index b = threadIdx.x / 32; b < examples; b += kPenaltyWarps) {
    const float one = counts(w, replica, examples, b) ? 1 : 0;
    if (threadIdx.x % 32 != 0) continue;
    sequences += one;
    to[b] = one;
  }
  sequences = block_sum<kPenaltyThreads>(sequences, warps);
  const bool above = *place_of(penalty, replica, 0) > 0;
  const float d = above ? weight * *place_of(dpenalty, replica, 0) : 0;
  const float token = d / fmaxf(sequences * static_cast<float>(length), 1);
  for (Index b = threadIdx.x; b < examples; b += kPenaltyThreads)
    to[b] = to[b] != 0 ? token : 0;
}

__global__ void __launch_bounds__(kThreads)
    penalty_of_tokens(const float* each, Index length, Gradient<float> ds) {
  after_previous();
  const Index row = blockIdx.x * Index{kThreads} + threadIdx.x, replica = blockIdx.y;
  if (row >= ds.view.rows) return;
  write_gradient(ds, replica, row, 0, each[replica * (ds.view.rows / length) + row / length]);
}

}  // namespace

void keep_lookups_cuda(const CudaCall& call, const Batched<float>& s, Index length, Index k,
                       const Batched<float>& kept, std::int32_t* order) {
  if (k == 0)
    return map_elements_cuda(call, "keep_lookups", s, {}, {kept, true, false}, AboveOneHalf{});
  const dim3 blocks = blocks_for("keep_lookups", s.rows / length, 1, s.replicas);
  cuda_launch("keep_lookups", keep_lookups, {blocks, 32, 0, call.stream}, s, length, k, kept,
              order);
}

void keep_lookups_backward_cuda(const CudaCall& call, const Batched<float>& kept,
                                const Batched<float>& dkept, const Gradient<float>& ds) {
  map_elements_cuda(call, "keep_lookups_backward", kept, dkept, ds, WhereKept{});
}

void lookup_penalty_cuda(const CudaCall& call, const Batched<float>& s, Index length,
                         const LookupWeights& weights, double weight, double share,
                         const Batched<float>& penalty) {
  cuda_launch("lookup_penalty", lookup_penalty,
              {static_cast<unsigned>(s.replicas), kPenaltyThreads, 0, call.stream}, s, length,
              weights, static_cast<float>(weight), static_cast<float>(share), penalty);
}

void lookup_penalty_backward_cuda(const CudaCall& call, const Batched<float>& penalty,
                                  const Batched<float>& dpenalty, Index length,
                                  const LookupWeights& weights, double weight,
                                  const Gradient<float>& ds, float* scratch) {
  if (!ds.wanted) return;
  const Batched<float>& to = ds.view;
  cuda_launch("penalty_of_sequences", penalty_of_sequences,
              {static_cast<unsigned>(to.replicas), kPenaltyThreads, 0, call.stream}, penalty,
              dpenalty, to.rows / length, length, weights, static_cast<float>(weight), scratch);
  const dim3 blocks = blocks_for("lookup_penalty", to.rows, kThreads, to.replicas);
  cuda_launch("penalty_of_tokens", penalty_of_tokens, {blocks, kThreads, 0, call.stream}, scratch,
              length, ds);
}

}  // namespace recallbench
